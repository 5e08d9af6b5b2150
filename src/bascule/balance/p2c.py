# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The less busy of two nodes picked at random (the power of two choices, Mitzenmacher 1996).

The two are drawn by weight, and the one with fewer requests under way for its weight is taken. Where loads are shared,
those of all workers count; and as no worker ever takes the least busy node of all, they don't all rush to one.
"""

import cython
from cython.cimports.bascule.balance.picker import Picker, RandomPair
from cython.cimports.libc.stdlib import calloc, free


@cython.final
@cython.cclass
class PowerOfTwo(RandomPair):
    def __cinit__(self, members, random):
        self.sums = cython.cast(cython.p_double, calloc(self.count + 1, cython.sizeof(cython.double)))
        if self.sums == cython.NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.sums)

    @cython.cfunc
    def drawn(self) -> cython.int:
        """By weight."""
        low: cython.int = 0
        high: cython.int = self.usable - 1
        middle: cython.int
        drawn: cython.double = self.draw.next() * self.sums[high]
        while low < high:
            middle = (low + high) // 2
            if self.sums[middle] <= drawn:
                low = middle + 1
            else:
                high = middle
        return self.eligible[low]

    @cython.cfunc
    def is_worse(self, one: cython.int, other: cython.int) -> cython.bint:
        return self.score(one) > self.score(other)

    @cython.cfunc
    def score(self, place: cython.int) -> cython.double:
        return self.member(place).load.total() / self.weight[place]

    def on_start(self, index):
        place: cython.int = self.place(index)
        if place >= 0:
            self.member(place).load.began()
        return 0

    def on_finish(self, index, seconds, ok):
        place: cython.int = self.place(index)
        if place >= 0:
            self.member(place).load.ended()
        return 0

    def weigh(self, index, factor):
        Picker.weigh(self, index, factor)
        return self.changed()

    def changed(self):
        i: cython.int
        sum: cython.double = 0.0
        RandomPair.changed(self)
        for i in range(self.usable):
            sum += self.weight[self.eligible[i]]
            self.sums[i] = sum
        return 0

    def __repr__(self):
        return f"PowerOfTwo({', '.join([f'{member.name}={member.load.all_active}' for member in self.members])})"
