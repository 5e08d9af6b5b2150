"""What the holder of a key may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bascule.admin.answer import Answer, Refusal
from bascule.model.admin_settings import KeyScope


@dataclass(frozen=True, slots=True)
class Permit:
    """`name`: of the key, for the history. No `scope`: everything."""

    name: str = "admin"
    reads_only: bool = False
    scope: KeyScope | None = None

    def check_kind(self, kind: str) -> None:
        """Raises Refusal with 403."""
        kinds = self.scope.kinds if self.scope else None
        if kinds is not None and kind not in kinds:
            raise self._refusal(f"only touch {', '.join(kinds)}, not {kind}")

    def covers(self, kind: str, value: Mapping[str, Any]) -> bool:
        if self.scope is None:
            return True
        if self.scope.kinds is not None and kind not in self.scope.kinds:
            return False
        labels = value.get("labels")
        labels = labels if isinstance(labels, dict) else {}
        return all(labels.get(name) == wanted for name, wanted in self.scope.labels.items())

    def check(self, kind: str, value: Mapping[str, Any]) -> None:
        """Raises Refusal with 403."""
        self.check_kind(kind)
        if not self.covers(kind, value):
            assert self.scope is not None
            labels = ", ".join(f"{name}={wanted}" for name, wanted in self.scope.labels.items())
            raise self._refusal(f"only touch resources with the labels {labels}")

    def check_everything(self) -> None:
        """For what concerns all resources at once. Raises Refusal with 403."""
        if self.scope is not None:
            raise self._refusal("not touch the whole configuration")

    def _refusal(self, what: str) -> Refusal:
        return Refusal(Answer(403, {"error_msg": f'the key "{self.name}" may {what}'}))
