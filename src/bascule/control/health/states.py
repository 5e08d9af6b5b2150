"""What supervisor and workers tell each other of nodes' health."""

from __future__ import annotations

from typing import NamedTuple


class NodeNames(NamedTuple):
    """Of one upstream, for workers. `unusable`: to be passed over; `unsettled`: whose successes count."""

    unusable: frozenset[str]
    unsettled: frozenset[str]


States = dict[str, NodeNames]  # by the key of the upstream (CompiledUpstream.key)
Report = tuple[str, int, int]  # of a worker: the node's name, an Outcome, how many of these in a row
Reports = dict[str, list[Report]]  # by the key of the upstream
NOTHING = NodeNames(frozenset(), frozenset())
