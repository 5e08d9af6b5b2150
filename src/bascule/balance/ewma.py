# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The faster of two nodes picked at random, by a moving average of response times (peak EWMA, as in Finagle).

An average forgets with a time constant of 10 s, and goes on forgetting while a node isn't used, so that a slow one is
tried again. A response slower than the average counts at once, a faster one bit by bit. Where loads are shared, so are
the averages: each is one word of memory, its time and its value. Two processes that change it in the same moment lose
one of the two measurements, which such an average can bear.
"""

import cython
from cython.cimports.bascule.balance.member import Load
from cython.cimports.bascule.balance.picker import Draw, Picker
from cython.cimports.libc.math import exp
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memcpy

DECAY_S = 10.0
DRAWS = cython.declare(cython.int, 16)  # before it looks for one that isn't left out


@cython.final
@cython.cclass
class Ewma(Picker):
    """`clock` in seconds, the same for all processes. Weights don't matter here, but for 0, which is never picked."""

    def __init__(self, members, random, clock):
        self.counts = True
        self.draw = Draw(random.getrandbits(64))
        self.clock = clock
        self.eligible = cython.cast(cython.p_int, calloc(self.count + 1, cython.sizeof(cython.int)))
        if self.eligible == cython.NULL:
            raise MemoryError
        self.changed()

    def __dealloc__(self):
        free(self.eligible)

    def pick(self, key, tried):
        one: cython.int = self.some(tried, -1)
        other: cython.int
        now: cython.double
        if one < 0:
            return -1
        other = self.some(tried, one)
        if other < 0:
            return self.index_of[one]
        now = self.clock()
        return self.index_of[one if self.score(one, now) <= self.score(other, now) else other]

    @cython.cfunc
    def some(self, tried: object, but: cython.int) -> cython.int:
        """A random place that is neither in `tried` nor `but`; -1: there is none."""
        i: cython.int
        place: cython.int
        if self.usable > 1 or but < 0:
            for i in range(DRAWS if self.usable else 0):
                place = self.eligible[self.draw.below(self.usable)]
                if place != but and (tried is None or self.index_of[place] not in tried):
                    return place
            for i in range(self.usable):
                place = self.eligible[i]
                if place != but and (tried is None or self.index_of[place] not in tried):
                    return place
        return -1

    def on_finish(self, index, seconds, ok):
        place: cython.int = self.place(index)
        load: Load
        now: cython.double
        score: cython.double
        share: cython.double
        if place < 0:
            return 0
        load = self.member(place).load
        now = self.clock()
        score = self.score(place, now)
        if seconds > score:
            score = seconds
        elif ok:
            # A failure may be fast, but that is no merit.
            share = exp(-since(load.response[0], now) / DECAY_S)
            score = average(load.response[0]) * share + seconds * (1 - share)
        load.response[0] = packed(score, now)
        return 0

    @cython.cfunc
    def score(self, place: cython.int, now: cython.double) -> cython.double:
        """The average as of now."""
        word: uint64_t = self.member(place).load.response[0]
        return average(word) * exp(-since(word, now) / DECAY_S) if word else 0.0

    def changed(self):
        place: cython.int
        at: cython.int = 0
        for place in range(self.count):
            if not self.over[place]:
                self.eligible[at] = place
                at += 1
        return 0

    def __repr__(self):
        said = [f"{member.name}={average_of(member.load):.3f}" for member in self.members]
        return f"Ewma({', '.join(said)})"


@cython.cfunc
@cython.exceptval(check=False)
def packed(seconds: cython.double, now: cython.double) -> uint64_t:
    """The average in the upper half, as a float; the time in the lower one, in ms."""
    value: cython.float = seconds
    bits: uint32_t
    memcpy(cython.address(bits), cython.address(value), 4)
    return (cython.cast(uint64_t, bits) << 32) | cython.cast(uint32_t, cython.cast(uint64_t, now * 1000))


@cython.cfunc
@cython.exceptval(check=False)
def average(word: uint64_t) -> cython.double:
    value: cython.float
    bits: uint32_t = cython.cast(uint32_t, word >> 32)
    memcpy(cython.address(value), cython.address(bits), 4)
    return value


@cython.cfunc
@cython.exceptval(check=False)
def since(word: uint64_t, now: cython.double) -> cython.double:
    """Seconds since it was touched; the lower half of the clock goes round after 49 days."""
    passed: uint32_t = cython.cast(uint32_t, cython.cast(uint64_t, now * 1000) - word)
    return 0.0 if passed > 0x7FFFFFFF else passed / 1000.0


def average_of(load: Load) -> float:
    """The average response time when it was last touched, in seconds."""
    return average(load.response[0])
