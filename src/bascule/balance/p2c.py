# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The less busy of two nodes picked at random (the power of two choices, Mitzenmacher 1996).

The two are drawn by weight, and the one with fewer requests under way for its weight is taken. Where loads are shared,
those of all workers count; and as no worker ever takes the least busy node of all, they don't all rush to one.
"""

import cython
from cython.cimports.bascule.balance.picker import Draw, Picker
from cython.cimports.libc.stdlib import calloc, free

DRAWS = cython.declare(cython.int, 16)  # before it looks for one that isn't left out


@cython.final
@cython.cclass
class PowerOfTwo(Picker):
    def __init__(self, members, random):
        self.counts = True
        self.draw = Draw(random.getrandbits(64))
        self.eligible = cython.cast(cython.p_int, calloc(self.count + 1, cython.sizeof(cython.int)))
        self.sums = cython.cast(cython.p_double, calloc(self.count + 1, cython.sizeof(cython.double)))
        if self.eligible == cython.NULL or self.sums == cython.NULL:
            raise MemoryError
        self.changed()

    def __dealloc__(self):
        free(self.eligible)
        free(self.sums)

    def pick(self, key, tried):
        one: cython.int = self.some(tried, -1)
        other: cython.int
        if one < 0:
            return -1
        other = self.some(tried, one)
        if other < 0:
            return self.index_of[one]
        return self.index_of[one if self.score(one) <= self.score(other) else other]

    @cython.cfunc
    def some(self, tried: object, but: cython.int) -> cython.int:
        """A place drawn by weight that is neither in `tried` nor `but`; -1: there is none."""
        i: cython.int
        low: cython.int
        high: cython.int
        middle: cython.int
        place: cython.int
        drawn: cython.double
        if self.usable == 0 or (self.usable == 1 and but >= 0):
            return -1
        for i in range(DRAWS):
            drawn = self.draw.next() * self.sums[self.usable - 1]
            low = 0
            high = self.usable - 1
            while low < high:
                middle = (low + high) // 2
                if self.sums[middle] <= drawn:
                    low = middle + 1
                else:
                    high = middle
            place = self.eligible[low]
            if place != but and (tried is None or self.index_of[place] not in tried):
                return place
        for i in range(self.usable):
            place = self.eligible[i]
            if place != but and (tried is None or self.index_of[place] not in tried):
                return place
        return -1

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
        place: cython.int
        at: cython.int = 0
        sum: cython.double = 0.0
        for place in range(self.count):
            if not self.over[place]:
                sum += self.weight[place]
                self.eligible[at] = place
                self.sums[at] = sum
                at += 1
        return 0

    def __repr__(self):
        return f"PowerOfTwo({', '.join([f'{member.name}={member.load.all_active}' for member in self.members])})"
