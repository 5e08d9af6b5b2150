"""Where the supervisor's configuration comes from: a file that is looked at, or a live store that tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from bascule.errors.config_error import ConfigError
from bascule.model.change import Change


@dataclass(slots=True)
class Step:
    """`errors`: of the source itself, all that there are now. `plugins`: the source's own list of enabled plugins.
    `revision`: of the store, once this step is taken; 0 for a file."""

    changes: list[Change] = field(default_factory=list)
    errors: tuple[ConfigError, ...] = ()
    plugins: tuple[str, ...] | None = None
    revision: int = 0


class Source(Protocol):
    async def load(self) -> Step:
        """Everything. May raise StoreUnavailable."""

    async def next(self) -> Step:
        """Waits for the next step."""

    async def close(self) -> None:
        """Lets go of it; `load` may be called again."""

    def locate(self, errors: tuple[ConfigError, ...]) -> tuple[ConfigError, ...]:
        """The same errors, with the line of each as near as it can be told. Runs in a thread."""

    @property
    def trouble(self) -> str | None:
        """Why the source can't be read at present."""
