"""What is wrong with one item, collected while it is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from bascule.errors.config_error import ConfigError
from bascule.errors.sentences import json_path, sentences
from bascule.model.change import Change


class Faults:
    """(JSON path, sentence) pairs; true when there is one."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def __bool__(self) -> bool:
        return bool(self.found)

    def add(self, parts: Sequence[str | int], sentence: str) -> None:
        self.found.append((json_path(parts), sentence))

    def add_invalid(
        self, error: ValidationError, value: Any, model: type[BaseModel], parts: Sequence[str | int]
    ) -> None:
        self.found.extend(sentences(error, value, model, json_path(parts)))

    def add_inside(self, parts: Sequence[str | int], path: str, sentence: str) -> None:
        """`path` is a JSON path ("$[1][0]") inside the value at `parts`."""
        self.found.append((json_path(parts) + path.removeprefix("$"), sentence))

    def errors(self, change: Change) -> tuple[ConfigError, ...]:
        return tuple(
            ConfigError(change.kind, change.id, path, sentence, change.file, change.line)
            for path, sentence in self.found
        )
