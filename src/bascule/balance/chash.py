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
from cython.cimports.bascule.balance.member import Member
from cython.cimports.bascule.balance.picker import Picker
from cython.cimports.libc.stdint import int32_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memset

POINTS = 160
# More points than this aren't worth their memory and time: weights are then rounded to what fits.
MAX_POINTS = 1 << 18
DIGITS = cython.declare(cython.int, 2048)  # of the sort, which takes 11 bits at a time

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
    """The ring holds all nodes; those passed over leave their keys to the next point, and nobody else's keys move."""

    def __init__(self, members):
        counts = point_counts([int(member.weight) for member in members])
        member: Member
        place: cython.int
        count: cython.int
        i: cython.int
        at: cython.Py_ssize_t = 0
        base: uint32_t
        word: uint32_t
        point: uint32_t
        ring: cython.pointer(uint64_t)
        other: cython.pointer(uint64_t)
        self.points = sum(counts)
        ring = cython.cast(cython.pointer(uint64_t), malloc((self.points + 1) * 8))
        other = cython.cast(cython.pointer(uint64_t), malloc((self.points + 1) * 8))
        self.hashes = cython.cast(cython.pointer(uint32_t), malloc((self.points + 1) * 4))
        self.owners = cython.cast(cython.pointer(int32_t), malloc((self.points + 1) * 4))
        if ring == cython.NULL or other == cython.NULL or self.hashes == cython.NULL or self.owners == cython.NULL:
            free(ring)
            free(other)
            raise MemoryError
        for place in range(self.count):
            member = self.member(place)
            base = crc32(member.name.replace(":", "\0").encode())
            point = 0
            count = counts[place]
            for i in range(count):
                word = ~base ^ point
                point = ~(
                    TABLE[768 + (word & 255)]
                    ^ TABLE[512 + ((word >> 8) & 255)]
                    ^ TABLE[256 + ((word >> 16) & 255)]
                    ^ TABLE[word >> 24]
                )
                ring[at] = (cython.cast(uint64_t, point) << 32) | cython.cast(uint64_t, place)
                at += 1
        sort(ring, other, at)  # three turns: the result is in `other`
        for at in range(self.points):
            self.hashes[at] = cython.cast(uint32_t, other[at] >> 32)
            self.owners[at] = cython.cast(int32_t, cython.cast(uint32_t, other[at]))
        free(ring)
        free(other)

    def __dealloc__(self):
        free(self.hashes)
        free(self.owners)

    def pick(self, key, tried):
        low: cython.Py_ssize_t = 0
        high: cython.Py_ssize_t = self.points
        middle: cython.Py_ssize_t
        place: cython.int
        hash: uint32_t
        if self.usable == 0 or (tried is not None and not self.left(tried)):
            return -1
        hash = crc32((key or "").encode("utf-8", "surrogatepass"))
        while low < high:
            middle = (low + high) >> 1
            if self.hashes[middle] < hash:
                low = middle + 1
            else:
                high = middle
        while True:
            if low == self.points:
                low = 0
            place = self.owners[low]
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
    def ring(self):
        """[(point, index of its node)] in order."""
        return [(self.hashes[at], self.index_of[self.owners[at]]) for at in range(self.points)]

    def __repr__(self):
        return f"ConsistentHash({self.count} nodes, {self.points} points)"


def point_counts(weights) -> list:
    """Points of each node."""
    step = gcd(*weights) or 1
    counts = [POINTS * weight // step for weight in weights]
    total = sum(counts)
    limit = max(MAX_POINTS, POINTS * len(weights))
    return counts if total <= limit else [max(1, count * limit // total) for count in counts]


@cython.cfunc
@cython.exceptval(check=False)
def sort(source: cython.pointer(uint64_t), target: cython.pointer(uint64_t), n: cython.Py_ssize_t) -> cython.void:
    """By the upper 32 bits; equals keep their order. Three turns of counting digits, so that it ends up in `target`."""
    starts: cython.uint[2048]
    turn: cython.int
    digit: cython.int
    i: cython.Py_ssize_t
    sum: cython.uint
    count: cython.uint
    aside: cython.pointer(uint64_t)
    for turn in range(3):
        memset(starts, 0, cython.sizeof(starts))
        for i in range(n):
            starts[(source[i] >> (32 + 11 * turn)) & 2047] += 1
        sum = 0
        for digit in range(DIGITS):
            count = starts[digit]
            starts[digit] = sum
            sum += count
        for i in range(n):
            digit = cython.cast(cython.int, (source[i] >> (32 + 11 * turn)) & 2047)
            target[starts[digit]] = source[i]
            starts[digit] += 1
        aside = source
        source = target
        target = aside
