# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The least of many keys that change one at a time: O(1) to ask for, O(log n) to change."""

import cython
from cython.cimports.libc.math import INFINITY
from cython.cimports.libc.stdlib import calloc, free


@cython.final
@cython.cclass
class Tournament:
    def __cinit__(self, count: cython.int):
        i: cython.int
        self.size = 1
        while self.size < count:
            self.size *= 2
        self.key = cython.cast(cython.p_double, calloc(self.size, cython.sizeof(cython.double)))
        self.turn = cython.cast(cython.p_longlong, calloc(self.size, cython.sizeof(cython.longlong)))
        self.winner = cython.cast(cython.p_int, calloc(2 * self.size, cython.sizeof(cython.int)))
        if self.key == cython.NULL or self.turn == cython.NULL or self.winner == cython.NULL:
            raise MemoryError
        for i in range(self.size):
            self.key[i] = INFINITY
            self.winner[self.size + i] = i
        self.play_all()

    def __dealloc__(self):
        free(self.key)
        free(self.turn)
        free(self.winner)

    @cython.cfunc
    @cython.exceptval(check=False)
    def best(self) -> cython.int:
        return -1 if self.key[self.winner[1]] == INFINITY else self.winner[1]

    @cython.cfunc
    def best_but(self, index_of: cython.p_int, tried: object) -> cython.int:
        """The best leaf whose index isn't in `tried` (a set, or None)."""
        leaf: cython.int = self.best()
        if tried is None or leaf < 0 or index_of[leaf] not in tried:
            return leaf
        aside = []
        while leaf >= 0 and index_of[leaf] in tried:
            aside.append((leaf, self.key[leaf]))
            self.set(leaf, INFINITY)
            leaf = self.best()
        for other, key in aside:
            self.set(other, key)
        return leaf

    @cython.cfunc
    @cython.exceptval(check=False)
    def play(self, at: cython.int) -> cython.void:
        left: cython.int = self.winner[2 * at]
        right: cython.int = self.winner[2 * at + 1]
        if self.key[right] < self.key[left] or (
            self.key[right] == self.key[left] and self.turn[right] < self.turn[left]
        ):
            self.winner[at] = right
        else:
            self.winner[at] = left

    @cython.cfunc
    @cython.exceptval(check=False)
    def play_all(self) -> cython.void:
        """After keys were set one by one."""
        at: cython.int = self.size - 1
        while at > 0:
            self.play(at)
            at -= 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def put(self, leaf: cython.int, key: cython.double, turn: cython.longlong) -> cython.void:
        at: cython.int = (self.size + leaf) // 2
        self.key[leaf] = key
        self.turn[leaf] = turn
        while at > 0:
            self.play(at)
            at //= 2

    @cython.cfunc
    @cython.exceptval(check=False)
    def set(self, leaf: cython.int, key: cython.double) -> cython.void:
        """The same with the turn left as it is."""
        self.put(leaf, key, self.turn[leaf])

    # For tests: the compiled callers use the fields.

    def __setitem__(self, leaf: int, key: float) -> None:
        self.set(leaf, key)

    @property
    def first(self) -> int:
        return self.best()
