"""The outcome of one step of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from bascule.errors.config_error import ConfigError


@dataclass(frozen=True, slots=True)
class Applied:
    """`generation` counts applied steps; `errors` are those of the items that the step touched."""

    generation: int
    errors: tuple[ConfigError, ...] = ()
