# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Nodes of a lower priority serve only when every node of the higher ones is passed over or was tried."""

import cython
from cython.cimports.bascule.balance.picker import Picker


@cython.final
@cython.cclass
class PriorityGroups(Picker):
    """`groups`: balancers over different nodes, highest priority first; `members`: none of its own."""

    def __init__(self, members, groups):
        self.groups = groups
        self.counts = any(group.counts for group in groups)

    def pick(self, key, tried):
        picked: cython.int
        for group in self.groups:
            picked = cython.cast(Picker, group).pick(key, tried)
            if picked >= 0:
                return picked
        return -1

    def on_start(self, index):
        for group in self.groups:
            cython.cast(Picker, group).on_start(index)
        return 0

    def on_finish(self, index, seconds, ok):
        for group in self.groups:
            cython.cast(Picker, group).on_finish(index, seconds, ok)
        return 0

    def pass_over(self, nodes):
        for group in self.groups:
            cython.cast(Picker, group).pass_over(nodes)
        return 0

    def weigh(self, index, factor):
        for group in self.groups:
            cython.cast(Picker, group).weigh(index, factor)
        return 0

    def __repr__(self):
        return f"PriorityGroups({', '.join([repr(group) for group in self.groups])})"
