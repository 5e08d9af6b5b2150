"""The whole configuration as commands work on it: of a gateway that runs, or of its store when none does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

Told = dict[str, Any]


class GatewayRefused(Exception):
    """A command can't be carried out. The text is for people; `errors` are lines with places."""

    def __init__(self, text: str, errors: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.errors = errors


class PlanOutdated(Exception):
    """The plan that was agreed to is another by now; `now`: what it is."""

    def __init__(self, now: Told) -> None:
        super().__init__("the configuration has changed since this plan was made")
        self.now = now


@dataclass(frozen=True, slots=True)
class Change:
    """A document to be applied. `prune`: what it doesn't have is deleted."""

    document: Any
    prune: bool
    note: str = ""


class GatewayClient(Protocol):
    """Each answer is as the Admin API tells it; each method may raise GatewayRefused. `agreed`: the id of the plan that
    was agreed to; PlanOutdated when there is another. Without it, the plan alone is told and nothing is done."""

    def history(self, *, limit: int, before: int | None, prefix: str) -> list[Told]: ...

    def revision(self, number: int) -> Told: ...

    def between(self, first: int, second: int | None) -> list[Told]:
        """The plan that leads from one revision to another; None: to what is now."""

    def export(self, *, revision: int | None, times: bool, hide_secrets: bool) -> Told: ...

    def apply(self, change: Change, agreed: str | None) -> Told: ...

    def rollback(self, number: int, agreed: str | None) -> Told: ...

    def explain(self, asked: Told) -> Told:
        """What would happen to a request: see snapshot/explanation.py."""

    def debug_token(self, valid_s: float) -> str: ...

    def close(self) -> None: ...


def error_lines(answer: Any) -> tuple[str, ...]:
    """The errors of an Admin API's answer, a line each: "$.routes[0].uri: must be a string"."""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return tuple(f"{error['path']}: {error['message']}" for error in errors or ())
