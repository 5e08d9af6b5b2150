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
from cython.cimports.bascule.balance.picker import RandomPair
from cython.cimports.libc.math import exp
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memcpy

DECAY_S = 10.0


@cython.final
@cython.cclass
class Ewma(RandomPair):
    """`clock` in seconds, the same for all processes. Weights don't matter here, but for 0, which is never picked."""

    def __init__(self, members, random, clock):
        RandomPair.__init__(self, members, random)
        self.clock = clock

    @cython.cfunc
    def is_worse(self, one: cython.int, other: cython.int) -> cython.bint:
        now: cython.double = self.clock()
        return self.score(one, now) > self.score(other, now)

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
