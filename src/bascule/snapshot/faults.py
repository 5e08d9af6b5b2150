"""What is wrong with one item, collected while it is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from bascule.errors.config_error import ConfigError
from bascule.errors.fault import Fault
from bascule.errors.sentences import faults, json_path, placed
from bascule.match.expression import ExpressionError
from bascule.model.change import Change

Parts = tuple[str | int, ...]


class Faults:
    """What was found; true when there is something."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self.found)

    def add(self, parts: Sequence[str | int], sentence: str, text: str | None = None, semantic: bool = False) -> None:
        """`text`: APISIX's words, if they differ. `semantic`: it finds that after its schema check; in that case the
        text stands by itself, else it is told with its place."""
        path = json_path(parts)
        if semantic:
            self.found.append(Fault(path, sentence, sentence if text is None else text, ""))
        else:
            self.found.append(placed(parts, path, sentence, sentence if text is None else text))

    def add_invalid(
        self, error: ValidationError, value: Any, model: type[BaseModel], parts: Sequence[str | int]
    ) -> None:
        self.found.extend(faults(error, value, model, parts))

    def add_expression(self, parts: Sequence[str | int], error: ExpressionError) -> None:
        """`parts`: where the expression stands."""
        path = json_path(parts) + error.path.removeprefix("$")
        self.found.append(Fault(path, error.message, f"failed to validate the 'vars' expression: {error.text}", ""))

    def leave_out(self, places: Sequence[Parts], parts: Sequence[str | int]) -> None:
        """Faults at one of these places inside what stands at `parts`, on the way to it, or below it."""
        around = {json_path((*parts, *place[:end])) for place in places for end in range(1, len(place) + 1)}
        below = tuple(json_path((*parts, *place)) + mark for place in places for mark in ".[")
        self.found = [
            fault for fault in self.found if fault.path not in around and not fault.path.startswith(below or ("\0",))
        ]

    def errors(self, change: Change) -> tuple[ConfigError, ...]:
        return tuple(
            ConfigError(change.kind, change.id, fault.path, fault.sentence, change.file, change.line)
            for fault in self.found
        )
