# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""How many requests are in flight under a key, over all workers of a gateway: for limits of what may be at a time.

A table of loads with a row for each key that has a request in flight. As each process writes only its own cell, what
a killed one held is cleared like a load's. Deciding is two steps, since nothing is locked: a process adds its request,
and looks at the sum; too much, and it takes the request back. Two processes may so see each other, and both step back;
each looks once more then, and tries again if there is room. The last of them to look finds none of the others'
attempts, so a place that is free is taken by one of them; and the limit is never exceeded.
"""

import logging
import os

import cython
from cython.cimports.bascule.balance.member import Load
from cython.cimports.bascule.engine.load_table import LoadTable
from cython.cimports.bascule.engine.shared_counters import siphash
from cython.cimports.bascule.engine.shared_memory import PyUnicode_AsUTF8AndSize, full_barrier, read_word
from cython.cimports.libc.stdint import uint64_t

ATTEMPTS = cython.declare(cython.int, 1000)
LOOKS = cython.declare(cython.int, 3)  # a sum may hold one that left and one that came in its place meanwhile
log = logging.getLogger("bascule.engine")


@cython.cclass
class InFlight(LoadTable):
    """Each process has its own instance over the descriptor. A key that finds no room, or a process that has no column,
    is counted by this process alone: `alone` says how often."""

    def __cinit__(self, fd, owns_fd=False):
        secret: bytes = os.pread(fd, 16, 128)
        self.k0 = read_word(secret)
        self.k1 = read_word(cython.cast(cython.p_const_char, secret) + 8)
        self.loads = {}

    def enter(self, key: str, limit: cython.longlong):
        """One more under the key: how many there are with it. More than the limit: that was too many, and it isn't
        counted."""
        load: Load = self.loads.get(key)
        total: cython.longlong
        if load is None:
            load = Load()
            if not self.put(self.mark_of(key), load):
                self.unshared()
            self.loads[key] = load
        total = self.add(load, limit)
        if total > limit and load.mine() == 0:
            del self.loads[key]
        return total

    @cython.cfunc
    @cython.exceptval(check=False)
    def add(self, load: Load, limit: cython.longlong) -> cython.longlong:
        total: cython.longlong
        i: cython.int
        j: cython.int
        for i in range(ATTEMPTS):
            load.own[0] += 1
            full_barrier()
            total = load.total()
            if total <= limit:
                return total
            load.own[0] -= 1
            for j in range(LOOKS):
                full_barrier()
                total = load.total()
                if total < limit:
                    break
            if total >= limit:
                return total + 1
        return limit + 1

    def leave(self, key: str):
        """One less."""
        load: Load = self.loads.get(key)
        if load is None:
            return
        if load.mine() > 0:
            load.own[0] -= 1
        if load.mine() == 0:
            del self.loads[key]

    @cython.cfunc
    def mark_of(self, key: str) -> uint64_t:
        """Under a secret: nobody can choose keys that take each other's rows."""
        size: cython.Py_ssize_t
        first: uint64_t
        second: uint64_t
        data: cython.p_const_char = PyUnicode_AsUTF8AndSize(key, cython.address(size))
        siphash(data, size, self.k0, self.k1, cython.address(first), cython.address(second))
        return first

    def unshared(self):
        self.alone += 1
        if self.alone == 1:
            log.warning("no room to count requests in flight over all workers: some keys are counted by each worker")

    def __repr__(self):
        return f"<InFlight {len(self.loads)} keys, column {self.column} of {self.width[0]}>"


def own_table():
    """Of a process that shares it with no other."""
    table = InFlight.create(1024, 1)
    table.take_column()
    return table
