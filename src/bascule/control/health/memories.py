"""Nodes' health as it is written down for the next gateway, and read there. JSON: their versions may differ."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from bascule.balance.node_health import COUNTED, Status
from bascule.model.health_check import Checks

log = logging.getLogger("bascule.health")

FORMAT = 1
MOST_REASON = 300


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one node. `trial_at`: when it is to get requests again on trial (seconds since the epoch), or None."""

    status: Status
    counts: tuple[int, ...]
    reason: str
    since: datetime
    relapses: int = 0
    trial_at: float | None = None


@dataclass(frozen=True, slots=True)
class Memories:
    """Of one upstream's nodes, by name. They hold for the same checks only."""

    checks: str
    nodes: Mapping[str, Memory]


def fingerprint(checks: Checks | None) -> str:
    """Of what is asked and counted. What isn't configured has no part: another version may have other attributes."""
    told = None if checks is None else checks.model_dump(mode="json", exclude_defaults=True)
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def packed(upstreams: Mapping[str, Memories]) -> bytes:
    """`upstreams`: by key."""
    told = {
        key: {"checks": one.checks, "nodes": {name: _told(memory) for name, memory in one.nodes.items()}}
        for key, one in upstreams.items()
        if one.nodes
    }
    return orjson.dumps({"format": FORMAT, "upstreams": told})


def unpacked(documents: Sequence[bytes]) -> dict[str, Memories]:
    """By key; a later document wins. What can't be read is left out, with a word in the log."""
    found: dict[str, Memories] = {}
    for document in documents:
        try:
            told = orjson.loads(document)
            if told["format"] != FORMAT:
                raise ValueError(f"in format {told['format']}")
            found |= {
                key: Memories(str(one["checks"]), {name: _memory(told) for name, told in one["nodes"].items()})
                for key, one in told["upstreams"].items()
            }
        except Exception as error:  # of another version; nodes then begin healthy, as without it
            log.warning("what the older gateway knew of nodes' health can't be used: %s", error or type(error).__name__)
    return found


def count(memories: Iterable[Memories]) -> int:
    """Nodes that get no requests."""
    bad = (Status.UNHEALTHY, Status.MOSTLY_UNHEALTHY)
    return sum(memory.status in bad for one in memories for memory in one.nodes.values())


def _told(memory: Memory) -> dict[str, Any]:
    return {
        "status": str(memory.status),
        "counts": memory.counts,
        "reason": memory.reason[:MOST_REASON],
        "since": memory.since.timestamp(),
        "relapses": memory.relapses,
        "trial_at": memory.trial_at,
    }


def _memory(told: Mapping[str, Any]) -> Memory:
    counts = tuple(min(COUNTED, max(0, int(number))) for number in told["counts"])
    if len(counts) != 4:
        raise ValueError("four counts were expected")
    trial_at = told["trial_at"]
    return Memory(
        Status(told["status"]),
        counts,
        str(told["reason"]),
        datetime.fromtimestamp(float(told["since"]), UTC),
        min(30, max(0, int(told["relapses"]))),
        None if trial_at is None else float(trial_at),
    )
