"""The resources as the supervisor holds them for workers: packed, with the last good version of what is refused now.

A worker that starts later than the others must serve what they serve. So for an item whose present version was refused,
the version before it is kept too, and a new worker is given both, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import orjson

from bascule.errors.config_error import ConfigError
from bascule.model.change import Change

Key = tuple[str, str]


class PackedChange(NamedTuple):
    """A Change whose value is JSON: a tenth of the memory, and packed once for all workers."""

    kind: str
    id: str
    value: bytes | None
    file: str | None
    line: int | None
    created: int = 0
    modified: int = 0


def pack(change: Change) -> PackedChange:
    # The copy: orjson's own bytes keep the buffer that they were written in, kilobytes for each.
    value = None if change.value is None else bytes(memoryview(orjson.dumps(change.value)))
    return PackedChange(change.kind, change.id, value, change.file, change.line, change.created, change.revision)


def unpack(packed: PackedChange) -> Change:
    value = None if packed.value is None else orjson.loads(packed.value)
    return Change(packed.kind, packed.id, value, packed.modified, packed.file, packed.line, packed.created)


class Configuration:
    def __init__(self) -> None:
        self.generation = 0
        self._present: dict[Key, PackedChange] = {}
        self._good: dict[Key, PackedChange] = {}  # of items whose present version is refused, or not yet judged

    def take(self, changes: Iterable[Change]) -> list[PackedChange]:
        """One step; what to send to workers."""
        self.generation += 1
        packed = [pack(change) for change in changes]
        for change in packed:
            key = change.kind, change.id
            before = self._present.pop(key, None)
            if change.value is None:
                self._good.pop(key, None)
            else:
                self._present[key] = change
                if before is not None:
                    self._good.setdefault(key, before)
        return packed

    def settle(self, generation: int, refused: Iterable[ConfigError]) -> None:
        """A worker serves `generation`, and refuses this: what it doesn't refuse has no need of a version before."""
        if generation != self.generation or not self._good:
            return
        bad = {(error.kind, error.id) for error in refused}
        for key in [key for key in self._good if key not in bad]:
            del self._good[key]

    def get(self, kind: str, id: str) -> PackedChange | None:
        return self._present.get((kind, id))

    def versions(self, kind: str, id: str) -> list[PackedChange]:
        """Those that workers may serve: the present one, and the last good one if that may be another."""
        key = kind, id
        return [held[key] for held in (self._present, self._good) if key in held]

    def items(self, kind: str) -> list[PackedChange]:
        """In the order in which they came."""
        return [change for change in self._present.values() if change.kind == kind]

    def changes(self) -> Iterator[Change]:
        """Every resource, as `steps` gives them."""
        return (unpack(packed) for step in self.steps() for packed in step)

    def steps(self) -> tuple[Sequence[PackedChange], ...]:
        """What a new worker applies, one after the other."""
        if not self._good:
            return (list(self._present.values()),)
        first = [self._good.get(key, change) for key, change in self._present.items()]
        return first, [self._present[key] for key in self._good]

    def __len__(self) -> int:
        return len(self._present)

    def __repr__(self) -> str:
        return f"<configuration {self.generation}: {len(self._present)} resources, {len(self._good)} good ones kept>"
