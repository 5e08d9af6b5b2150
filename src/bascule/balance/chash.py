# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Consistent hashing: a key's node stays the same while nodes come and go, save for the keys of those nodes.

The ring is nginx's and APISIX's, so that moving over doesn't empty the caches behind: a node has 160 points per weight
(divided by the weights' common divisor); a point is the CRC32 of the node's name, with NUL for ":", followed by the
point before it as four little-endian bytes (the first has zeros). A key belongs to the first point that isn't below its
CRC32. Of two nodes with the same point, the one that is listed first owns it.
"""

from math import gcd
from zlib import crc32

import cython
from cython.cimports.bascule.balance.picker import Picker
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, malloc
from cython.cimports.libc.string import memcpy

POINTS = 160
# More points than this aren't worth their memory and time: weights are then rounded to what fits.
MAX_POINTS = 1 << 18

# CRC32 of a word at a time: [256 * k + byte] is what that byte does k bytes before the end (Kounavis and Berry, 2005).
TABLE = cython.declare(uint32_t[1024])
POLYNOMIAL = cython.declare(uint32_t, 0xEDB88320)


@cython.cfunc
def fill_table() -> cython.int:
    i: cython.int
    k: cython.int
    bit: cython.int
    value: uint32_t
    for i in range(256):
        value = i
        for bit in range(8):
            value = (value >> 1) ^ POLYNOMIAL * (value & 1)
        TABLE[i] = value
    for k in range(1, 4):
        for i in range(256):
            value = TABLE[256 * (k - 1) + i]
            TABLE[256 * k + i] = TABLE[value & 255] ^ (value >> 8)
    return 0


fill_table()


@cython.final
@cython.cclass
class ConsistentHash(Picker):
    """The ring holds all nodes; those passed over leave their keys to the next point, and nobody else's keys move.

    `before`: a ring of an earlier version, from which the points of nodes that have as many now are taken over; or
    None."""

    def __init__(self, members, before=None):
        counts = point_counts([int(member.weight) for member in members])
        self.points = sum(counts)
        self.points_of = cython.cast(cython.p_int, malloc((self.count + 1) * cython.sizeof(cython.int)))
        self.ring = cython.cast(cython.pointer(uint64_t), malloc((self.points + 1) * 8))
        if self.points_of == cython.NULL or self.ring == cython.NULL:
            raise MemoryError
        for place, count in enumerate(counts):
            self.points_of[place] = count
        if not isinstance(before, ConsistentHash) or not self.take_over(before):
            self.make(cython.NULL, self.ring, self.points)

    @cython.cfunc
    def take_over(self, before: ConsistentHash) -> cython.bint:
        """Makes the ring of an earlier one. False: too little stays, or its nodes don't stand in the same order."""
        names: dict = {member.name: place for place, member in enumerate(before.members)}
        now_at: cython.p_int  # by place there: the place here, -1: its points are gone
        kept: cython.pointer(cython.bint)  # by place here
        place: cython.int
        there: cython.int
        last: cython.int = -1
        left: cython.Py_ssize_t = self.points
        if len(names) < before.count or len({member.name for member in self.members}) < self.count:
            return False  # a node that is listed twice
        now_at = cython.cast(cython.p_int, malloc((before.count + 1) * cython.sizeof(cython.int)))
        kept = cython.cast(cython.pointer(cython.bint), calloc(self.count + 1, cython.sizeof(cython.bint)))
        try:
            if now_at == cython.NULL or kept == cython.NULL:
                raise MemoryError
            for there in range(before.count):
                now_at[there] = -1
            for place in range(self.count):
                there = names.get(self.member(place).name, -1)
                if there < 0 or before.points_of[there] != self.points_of[place]:
                    continue
                if there < last:
                    return False
                last = there
                now_at[there] = place
                kept[place] = True
                left -= self.points_of[place]
            if left > self.points // 4:
                return False
            self.merge(before, now_at, kept, left)
        finally:
            free(now_at)
            free(kept)
        return True

    @cython.cfunc
    def merge(
        self, before: ConsistentHash, now_at: cython.p_int, kept: cython.pointer(cython.bint), left: cython.Py_ssize_t
    ) -> cython.int:
        """The points that stay, among them the `left` ones of nodes that aren't kept."""
        fresh: cython.pointer(uint64_t) = cython.cast(cython.pointer(uint64_t), malloc((left + 1) * 8))
        at: cython.Py_ssize_t = 0
        taken: cython.Py_ssize_t = 0
        old: cython.Py_ssize_t
        place: cython.int
        point: uint64_t
        if fresh == cython.NULL:
            raise MemoryError
        try:
            self.make(kept, fresh, left)
            for old in range(before.points):
                place = now_at[cython.cast(uint32_t, before.ring[old])]
                if place < 0:
                    continue
                point = (before.ring[old] >> 32 << 32) | cython.cast(uint32_t, place)
                while taken < left and fresh[taken] < point:
                    self.ring[at] = fresh[taken]
                    at += 1
                    taken += 1
                self.ring[at] = point
                at += 1
            memcpy(self.ring + at, fresh + taken, (left - taken) * 8)
        finally:
            free(fresh)
        return 0

    @cython.cfunc
    def make(
        self, but: cython.pointer(cython.bint), ring: cython.pointer(uint64_t), points: cython.Py_ssize_t
    ) -> cython.int:
        """Writes so many points in order: those of all nodes, or of those that aren't in `but`.

        They are computed twice: to count how many begin with which bits, and to put each near its place. That is
        quicker than the memory that would hold them meanwhile."""
        bits: cython.int = 1
        starts: cython.pointer(uint32_t)
        base: uint32_t[4]
        point: uint32_t[4]
        owner: cython.int[4]
        count: cython.int[4]
        lane: cython.int
        place: cython.int
        longest: cython.int
        turn: cython.int
        i: cython.int
        at: cython.Py_ssize_t
        k: cython.Py_ssize_t
        sum: uint32_t = 0
        word: uint32_t
        one: uint64_t
        while bits < 16 and (4 << bits) < points:
            bits += 1
        starts = cython.cast(cython.pointer(uint32_t), calloc((1 << bits) + 1, 4))
        if starts == cython.NULL:
            raise MemoryError
        try:
            bases = [~crc32(member.name.replace(":", "\0").encode()) & 0xFFFFFFFF for member in self.members]
            for turn in range(2):
                place = 0
                while place < self.count:
                    # Four nodes at a time: each point waits for the one before it, and the processor has time for more.
                    longest = 0
                    for lane in range(4):
                        count[lane] = 0
                        while place < self.count and but != cython.NULL and but[place]:
                            place += 1
                        if place < self.count:
                            owner[lane] = place
                            base[lane] = bases[place]
                            point[lane] = 0
                            count[lane] = self.points_of[place]
                            longest = max(longest, count[lane])
                            place += 1
                    for i in range(longest):
                        for lane in range(4):
                            if i >= count[lane]:
                                continue
                            word = base[lane] ^ point[lane]
                            word = ~(
                                TABLE[768 + (word & 255)]
                                ^ TABLE[512 + ((word >> 8) & 255)]
                                ^ TABLE[256 + ((word >> 16) & 255)]
                                ^ TABLE[word >> 24]
                            )
                            point[lane] = word
                            if turn == 0:
                                starts[(word >> (32 - bits)) + 1] += 1
                            else:
                                at = starts[word >> (32 - bits)]
                                starts[word >> (32 - bits)] += 1
                                ring[at] = (cython.cast(uint64_t, word) << 32) | cython.cast(uint32_t, owner[lane])
                if turn == 0:
                    for i in range(1 << bits):
                        sum += starts[i]
                        starts[i] = sum
        finally:
            free(starts)
        # Few begin with the same bits, so that none is far from its place.
        for at in range(1, points):
            one = ring[at]
            k = at
            while k > 0 and ring[k - 1] > one:
                ring[k] = ring[k - 1]
                k -= 1
            ring[k] = one
        return 0

    def __dealloc__(self):
        free(self.points_of)
        free(self.ring)

    def pick(self, key, tried):
        low: cython.Py_ssize_t = 0
        high: cython.Py_ssize_t = self.points
        middle: cython.Py_ssize_t
        place: cython.int
        hash: uint64_t
        if self.usable == 0 or (tried is not None and not self.left(tried)):
            return -1
        hash = cython.cast(uint64_t, cython.cast(uint32_t, crc32((key or "").encode("utf-8", "surrogatepass")))) << 32
        while low < high:
            middle = (low + high) >> 1
            if self.ring[middle] < hash:
                low = middle + 1
            else:
                high = middle
        while True:
            if low == self.points:
                low = 0
            place = cython.cast(cython.int, cython.cast(uint32_t, self.ring[low]))
            if not self.over[place] and (tried is None or self.index_of[place] not in tried):
                return self.index_of[place]
            low += 1

    @cython.cfunc
    def left(self, tried: object) -> cython.bint:
        """Whether there is a node that may be picked."""
        place: cython.int
        if len(tried) < self.usable:
            return True
        for place in range(self.count):
            if not self.over[place] and self.index_of[place] not in tried:
                return True
        return False

    def weigh(self, index, factor):
        """A ring has nodes by their weight in the configuration: changing shares for a while would move keys."""
        return 0

    @property
    def points_in_order(self):
        """[(point, index of its node)]."""
        return [(self.ring[at] >> 32, self.index_of[cython.cast(uint32_t, self.ring[at])]) for at in range(self.points)]

    def __repr__(self):
        return f"ConsistentHash({self.count} nodes, {self.points} points)"


def point_counts(weights) -> list:
    """Points of each node."""
    step = gcd(*weights) or 1
    counts = [POINTS * weight // step for weight in weights]
    total = sum(counts)
    limit = max(MAX_POINTS, POINTS * len(weights))
    return counts if total <= limit else [max(1, count * limit // total) for count in counts]
