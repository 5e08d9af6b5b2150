"""What is wrong with the configuration: one sentence at one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One fault of one item. `path` is a JSON path inside the item ("$.plugins.limit-count.count"), "" for none."""

    kind: str
    id: str | None
    path: str
    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        """ "file:line: kind[id] path: sentence", leaving out what is absent."""
        place = "" if self.file is None else f"{self.file}: " if self.line is None else f"{self.file}:{self.line}: "
        item = self.kind if self.id is None else f"{self.kind}[{self.id}]"
        subject = " ".join(part for part in (item, self.path) if part)
        return f"{place}{subject}: {self.message}" if subject else f"{place}{self.message}"


class ConfigRefused(Exception):
    """A configuration, or a part of it, can't be used. Carries every fault that was found."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors: tuple[ConfigError, ...] = tuple(errors)
        super().__init__("\n".join(map(str, self.errors)))
