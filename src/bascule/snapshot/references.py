"""References in configured strings: `$env://NAME[/key]`; `$secret://` waits for its managers and is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Resolve = Callable[[str], str | None]

_REFERENCE = re.compile(r"\$(env|secret)://", re.IGNORECASE)


def from_environment(environ: Mapping[str, str]) -> Resolve:
    """`$env://NAME` -> the variable; `$env://NAME/key` -> that member of the JSON object in the variable."""

    def resolve(reference: str) -> str | None:
        name, _, key = reference.partition("://")[2].partition("/")
        value = environ.get(name)
        if value is None or not key:
            return value
        try:
            member = orjson.loads(value)[key]
        except (ValueError, TypeError, LookupError):
            return None
        return member if isinstance(member, str) else None

    return resolve


def may_refer(packed: bytes) -> bool:
    """A cheap look at a packed value: False means that there is no reference in it."""
    return b"://" in packed and b"$" in packed


class Resolver:
    """Replaces references in one value, and tells those that it can't."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    def replace(self, value: Any, faults: list[tuple[tuple[str | int, ...], str]]) -> Any:
        """A copy of `value`; each reference without an answer is added to `faults` with its place."""
        return self._replace(value, (), faults)

    def _replace(self, value: Any, parts: tuple[str | int, ...], faults: list[Any]) -> Any:
        if isinstance(value, dict):
            return {key: self._replace(inner, (*parts, key), faults) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._replace(inner, (*parts, index), faults) for index, inner in enumerate(value)]
        if not isinstance(value, str) or not (match := _REFERENCE.match(value)):
            return value
        if match[1].lower() == "secret":
            faults.append((parts, f"{value}: secret managers are not served yet; use $env://NAME"))
            return value
        resolved = self._resolve(value)
        if resolved is None:
            faults.append((parts, f"{value} can't be resolved: there is no such environment variable"))
            return value
        return resolved
