# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Nodes of the gateway's own zone first: the others serve with them once too little of the own zone is usable.

As long as at least `threshold` of the own zone's weight is usable, requests stay in the zone, and only a retry that
finds all of its nodes tried leaves it. Below that, all usable nodes of all zones take their part by weight, so that
what is left of the zone isn't overrun by the requests of the whole.
"""

import cython
from cython.cimports.bascule.balance.member import Member
from cython.cimports.bascule.balance.picker import Picker


@cython.final
@cython.cclass
class Zones(Picker):
    """`near`: (0, 1] for each member, whether it is in the own zone; `build(members)` makes the balancer of some."""

    def __init__(self, members, near, threshold: cython.double, build):
        self.build = build
        self.threshold = threshold
        self.near = [member for member, is_near in zip(members, near, strict=True) if is_near]
        self.far = [member for member, is_near in zip(members, near, strict=True) if not is_near]
        self.near_weight = sum([member.weight for member in self.near])
        self.passed = frozenset()
        self.factors = {}
        self.arrange()
        self.counts = cython.cast(Picker, self.pickers[0]).counts

    @cython.cfunc
    def arrange(self) -> cython.int:
        """Makes the balancers for the state that it is in."""
        self.pickers = [self.build(self.members)] if self.spills else [self.build(self.near), self.build(self.far)]
        for picker in self.pickers:
            cython.cast(Picker, picker).pass_over(self.passed)
            for index, factor in self.factors.items():
                cython.cast(Picker, picker).weigh(index, factor)
        return 0

    def pick(self, key, tried):
        picked: cython.int
        for picker in self.pickers:
            picked = cython.cast(Picker, picker).pick(key, tried)
            if picked >= 0:
                return picked
        return -1

    def on_start(self, index):
        for picker in self.pickers:
            cython.cast(Picker, picker).on_start(index)
        return 0

    def on_finish(self, index, seconds, ok):
        for picker in self.pickers:
            cython.cast(Picker, picker).on_finish(index, seconds, ok)
        return 0

    def pass_over(self, nodes):
        member: Member
        usable: cython.double = 0.0
        self.passed = nodes
        for entry in self.near:
            member = cython.cast(Member, entry)
            if member.index not in nodes:
                usable += member.weight
        if self.spills != (usable < self.threshold * self.near_weight):
            self.spills = not self.spills
            return self.arrange()
        for picker in self.pickers:
            cython.cast(Picker, picker).pass_over(nodes)
        return 0

    def weigh(self, index, factor):
        if factor == 1.0:
            self.factors.pop(index, None)
        else:
            self.factors[index] = factor
        for picker in self.pickers:
            cython.cast(Picker, picker).weigh(index, factor)
        return 0

    def __repr__(self):
        return f"Zones({'all of ' if self.spills else ''}{', '.join([repr(picker) for picker in self.pickers])})"
