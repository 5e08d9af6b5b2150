# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""A node that can be picked, and what is measured about it."""

import cython
from cython.cimports.libc.stdint import int32_t, uint64_t


@cython.cclass
class Watcher:
    @cython.cfunc
    @cython.exceptval(check=False)
    def load_changed(self, place: cython.int) -> cython.int:
        return 0


@cython.final
@cython.no_gc_clear
@cython.cclass
class Load:
    """Of one node. Nothing is locked: a cell has one writer, and a moving average is one word."""

    def __cinit__(self):
        self.one = 1
        self.own = self.cells = cython.address(self.alone)
        self.width = cython.address(self.one)
        self.response = cython.address(self.private)

    def share(self, table, cells: cython.size_t, column: cython.int, width: cython.size_t, response: cython.size_t):
        """From now on it is measured together with other processes: addresses in `table`'s memory, where the own cell
        is HELD until this object ends."""
        active: int32_t = self.own[0]
        self.table = table
        self.cells = cython.cast(cython.pointer(int32_t), cells)
        self.own = self.cells + column
        self.own[0] += active
        self.width = cython.cast(cython.pointer(int32_t), width)
        self.response = cython.cast(cython.pointer(uint64_t), response)

    def __dealloc__(self):
        self.own[0] = 0

    @property
    def active(self):
        """Requests of this process under way."""
        return self.mine()

    @property
    def all_active(self):
        """Requests of all processes under way, as far as they share."""
        return self.total()

    @cython.cfunc
    @cython.exceptval(check=False)
    def mine(self) -> cython.int:
        return self.own[0] & (HELD - 1)

    @cython.cfunc
    @cython.exceptval(check=False)
    def began(self) -> cython.void:
        self.own[0] += 1
        if self.watcher is not None:
            self.watcher.load_changed(self.place)

    @cython.cfunc
    @cython.exceptval(check=False)
    def ended(self) -> cython.void:
        if self.mine() > 0:
            self.own[0] -= 1
            if self.watcher is not None:
                self.watcher.load_changed(self.place)

    @cython.cfunc
    @cython.exceptval(check=False)
    def total(self) -> cython.longlong:
        i: cython.int
        sum: cython.longlong = 0
        for i in range(self.width[0]):
            sum += self.cells[i] & (HELD - 1)
        return sum

    def __repr__(self):
        return f"Load({self.mine()} of {self.total()} active)"


@cython.final
@cython.cclass
class Member:
    """`index` in the upstream's list of nodes; `name` as in the configuration, "host:port"; `weight` > 0."""

    def __init__(self, index: cython.int, weight: cython.double, name: str, load: Load):
        self.index = index
        self.weight = weight
        self.name = name
        self.load = load

    def __repr__(self):
        return f"Member({self.index}, {self.weight:g}, {self.name})"
