# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Nodes of the gateway's own zone first, and of others as far as too little of the own zone is usable.

As long as at least `threshold` of the own zone's weight is usable, requests stay in the zone. Below that, the part of
them stays that keeps its nodes from getting more than they do at the threshold: at half of it, half of the requests.
The rest goes to the nodes of all other zones by weight. Where these can't take it either (less than `threshold` of
their weight is usable), both sides get what they can bear in proportion. So nothing jumps when a node comes or goes,
and a node in its slow start counts for as much as it takes.

A balancer that counts deals the requests out evenly; with keys (chash) a second hash of the key decides, so that as the
share shrinks keys leave the zone and none moves within it.
"""

from zlib import crc32

import cython
from cython.cimports.bascule.balance.chash import ConsistentHash
from cython.cimports.bascule.balance.picker import Picker
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.libc.stdlib import calloc, free

MIX = cython.declare(uint32_t, 0x85EBCA6B)
MIX_AGAIN = cython.declare(uint32_t, 0xC2B2AE35)
ROUNDING = cython.declare(cython.double, 1e-9)


@cython.final
@cython.cclass
class Zones(Picker):
    """`near`: for each member, whether it is in the own zone; `build(members)` makes the balancer of some."""

    def __init__(self, members, near, threshold: cython.double, build):
        place: cython.int
        self.is_near = cython.cast(cython.pointer(cython.bint), calloc(self.count + 1, cython.sizeof(cython.bint)))
        if self.is_near == cython.NULL:
            raise MemoryError
        for place in range(self.count):
            self.is_near[place] = near[place]
            if self.is_near[place]:
                self.near_weight += self.weight[place]
            else:
                self.far_weight += self.weight[place]
        self.near = build([member for place, member in enumerate(self.members) if near[place]])
        self.far = build([member for place, member in enumerate(self.members) if not near[place]])
        self.by_key = isinstance(self.near, ConsistentHash)
        self.counts = self.near.counts
        self.threshold = threshold
        self.changed()

    def __dealloc__(self):
        free(self.is_near)

    def pick(self, key, tried):
        stays: cython.bint = self.stays(key)
        picked: cython.int = (self.near if stays else self.far).pick(key, tried)
        return picked if picked >= 0 else (self.far if stays else self.near).pick(key, tried)

    @cython.cfunc
    def stays(self, key: object) -> cython.bint:
        """Whether this request is one for the zone."""
        hash: uint32_t
        if self.share >= 1.0 or self.share <= 0.0:
            return self.share > 0.0
        if self.by_key:
            # Another one than the ring's: all keys that stay would lie close together on it.
            hash = crc32((key or "").encode("utf-8", "surrogatepass"))
            hash = (hash ^ (hash >> 16)) * MIX
            hash = (hash ^ (hash >> 13)) * MIX_AGAIN
            return (hash ^ (hash >> 16)) * (1.0 / 4294967296.0) < self.share
        self.owed += self.share
        if self.owed < 1.0 - ROUNDING:
            return False
        self.owed -= 1.0
        return True

    @cython.cfunc
    def side(self, index: cython.int) -> Picker:
        place: cython.int = self.place(index)
        return self.near if place >= 0 and self.is_near[place] else self.far

    def on_start(self, index):
        return self.side(index).on_start(index)

    def on_finish(self, index, seconds, ok):
        return self.side(index).on_finish(index, seconds, ok)

    def pass_over(self, nodes):
        self.near.pass_over(nodes)
        self.far.pass_over(nodes)
        return Picker.pass_over(self, nodes)

    def weigh(self, index, factor):
        self.side(index).weigh(index, factor)
        Picker.weigh(self, index, factor)
        return self.changed()

    def changed(self):
        place: cython.int
        near: cython.double = 0.0
        far: cython.double = 0.0
        for place in range(self.count):
            if self.over[place]:
                continue
            if self.is_near[place]:
                near += self.weight[place]
            else:
                far += self.weight[place]
        near = self.capacity(near, self.near_weight)
        far = self.capacity(far, self.far_weight)
        self.share = near if near + far >= 1.0 else near / (near + far) if near + far > 0.0 else 1.0
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def capacity(self, usable: cython.double, weight: cython.double) -> cython.double:
        """What part of all requests a side can take, with so much of its weight usable."""
        if usable <= 0.0 or usable >= self.threshold * weight:
            return 1.0 if usable > 0.0 else 0.0
        return usable / (self.threshold * weight)

    def __repr__(self):
        return f"Zones({self.share:.0%} in {self.near!r}, the rest in {self.far!r})"
