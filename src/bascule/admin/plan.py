"""What has to be created, changed and deleted to get from one configuration to another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from bascule.admin.diff import ABSENT, Difference, Place, differences
from bascule.admin.document import TIMES, Items, in_order, ordered

SecretPlaces = Callable[[str, Mapping[str, Any]], Iterable[Place]]
Action = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """`differences`: of an update place by place; of the others one, of the whole resource."""

    action: Action
    kind: str
    id: str
    differences: tuple[Difference, ...]

    def told(self) -> dict[str, Any]:
        """As the Admin API answers."""
        shown = [difference.told() for difference in self.differences]
        return {"action": self.action, "kind": self.kind, "id": self.id, "differences": shown}


def plan(current: Items, desired: Items, secrets: SecretPlaces, *, prune: bool = True) -> list[PlannedStep]:
    """`prune`: what isn't desired is deleted, otherwise it stays. The times that the store keeps count for nothing, and
    neither does whether a value repeats the id that its key has. `secrets`: the places of secret values."""
    steps = []
    for kind, id in in_order(current.keys() | desired.keys()):
        before, after = current.get((kind, id)), desired.get((kind, id))
        if after is None and not prune:
            continue
        secret = [place for value in (before, after) if value is not None for place in secrets(kind, value)]
        found = differences(_bare(before), _bare(after), secret)
        if found:
            action: Action = "create" if before is None else "delete" if after is None else "update"
            steps.append(PlannedStep(action, kind, id, tuple(found)))
    return steps


def summary(steps: Iterable[PlannedStep]) -> dict[str, int]:
    """{"create": n, "update": n, "delete": n}"""
    counts = {"create": 0, "update": 0, "delete": 0}
    for step in steps:
        counts[step.action] += 1
    return counts


def plan_id(steps: Iterable[PlannedStep]) -> str:
    """The same for the same plan, and for no other."""
    told = orjson.dumps([step.told() for step in steps], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(told, digest_size=16).hexdigest()


def _bare(value: Mapping[str, Any] | None) -> Any:
    if value is None:
        return ABSENT
    return {key: inner for key, inner in ordered(value).items() if key not in TIMES and key != "id"}
