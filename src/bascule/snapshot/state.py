"""All items that the tables hold now, and who refers to whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bascule.errors.config_error import ConfigError
from bascule.model.change import Change
from bascule.model.kinds import KINDS
from bascule.snapshot.records import REFERENCES, Record

Item = tuple[str, str]  # kind, id

# Kinds that are referred to: only their items have dependents.
_TARGETS = frozenset(target for references in REFERENCES.values() for target, _ in references)


@dataclass(frozen=True, slots=True)
class Broken:
    """The newest version of an item, which can't be used. The change is kept to try it again."""

    change: Change
    errors: tuple[ConfigError, ...]


@dataclass(slots=True)
class State:
    """`records` holds the last good version of each item (or a route that refuses). `broken` holds newest versions that
    are no good, `link_errors` what is wrong between items."""

    records: dict[str, dict[str, Any]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    broken: dict[Item, Broken] = field(default_factory=dict)
    link_errors: dict[Item, tuple[ConfigError, ...]] = field(default_factory=dict)
    held_errors: dict[Item, tuple[ConfigError, ...]] = field(default_factory=dict)  # of what plugins refer to
    changed: dict[Item, None] = field(default_factory=dict)  # whose link errors changed in this step
    _dependents: dict[Item, dict[str, set[str]]] = field(default_factory=dict)

    def put(self, kind: str, id: str, record: Record | None) -> None:
        """Stores or, with None, removes a record, and follows its references."""
        records = self.records[kind]
        old = records.get(id)
        for target_kind, attribute in REFERENCES.get(kind, ()):
            before = getattr(old, attribute, None)
            after = getattr(record, attribute, None)
            if before != after:
                if before is not None:
                    self._unlink(target_kind, before, kind, id)
                if after is not None:
                    self._dependents.setdefault((target_kind, after), {}).setdefault(kind, set()).add(id)
        if record is None:
            records.pop(id, None)
        else:
            records[id] = record

    def _unlink(self, target_kind: str, target: str, kind: str, id: str) -> None:
        by_kind = self._dependents[target_kind, target]
        by_kind[kind].discard(id)
        if not by_kind[kind]:
            del by_kind[kind]
            if not by_kind:
                del self._dependents[target_kind, target]

    def dependents(self, item: Item) -> set[Item]:
        """Every item that refers to this one, directly or through another."""
        found: set[Item] = set()
        todo = [item]
        while todo:
            for kind, ids in self._dependents.get(todo.pop(), {}).items():
                new = {(kind, id) for id in ids} - found
                found |= new
                if kind in _TARGETS:
                    todo.extend(new)
        return found

    def set_link_errors(self, item: Item, errors: tuple[ConfigError, ...]) -> None:
        self._set_errors(self.link_errors, item, errors)

    def set_held_errors(self, item: Item, errors: tuple[ConfigError, ...]) -> None:
        self._set_errors(self.held_errors, item, errors)

    def _set_errors(
        self, known: dict[Item, tuple[ConfigError, ...]], item: Item, errors: tuple[ConfigError, ...]
    ) -> None:
        if errors != known.get(item, ()):
            self.changed[item] = None
        if errors:
            known[item] = errors
        else:
            known.pop(item, None)

    def errors_of(self, item: Item) -> tuple[ConfigError, ...]:
        broken = self.broken.get(item)
        own = broken.errors if broken else ()
        return (*own, *self.link_errors.get(item, ()), *self.held_errors.get(item, ()))

    def errors(self) -> tuple[ConfigError, ...]:
        """Everything that is wrong now."""
        own = [error for broken in self.broken.values() for error in broken.errors]
        between = (*self.link_errors.values(), *self.held_errors.values())
        return (*own, *(error for errors in between for error in errors))
