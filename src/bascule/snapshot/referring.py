"""Which items hold which `$secret://` and `$file://` references."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bascule.snapshot.compact_json import unpack
from bascule.snapshot.references import may_refer, secrets_in
from bascule.snapshot.state import Item


class Referring:
    """Only of items that hold one: all others cost a look at their packed value, and nothing after that."""

    def __init__(self) -> None:
        self._held: dict[Item, frozenset[str]] = {}

    def note(self, item: Item, packed: bytes | None, broken: Any) -> None:
        """`packed`: the version in use; `broken`: the value of the newest one, if that can't be used."""
        found = frozenset(secrets_in(unpack(packed))) if packed is not None and may_refer(packed) else frozenset()
        if broken is not None:
            found |= frozenset(secrets_in(broken))
        if found:
            self._held[item] = found
        elif self._held:
            self._held.pop(item, None)

    def items(self, changed: Collection[str]) -> list[Item]:
        """Those that hold one of these references."""
        wanted = frozenset(changed)
        return [item for item, held in self._held.items() if not held.isdisjoint(wanted)]
