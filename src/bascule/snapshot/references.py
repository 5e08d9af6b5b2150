"""References in configured strings: `$env://NAME[/key]`, `$secret://manager/id/key…`, `$file:///path`, and what they
stand for.

What environment variables say is known in every process; what secret managers and files say is fetched by the
supervisor, which may read what workers may not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

_REFERENCE = re.compile(r"\$(env|secret|file)://", re.IGNORECASE)
_FETCHED = ("$secret://", "$file://")
_NOT_HERE = ("secret managers aren't asked", "files aren't read")
Parts = tuple[str | int, ...]


class Unresolved(NamedTuple):
    """Why a reference stands for nothing. `open`: not here, but the worker that serves it may know."""

    sentence: str
    open: bool = False


Resolve = Callable[[str], str | Unresolved]


def from_environment(environ: Mapping[str, str]) -> Resolve:
    """`$env://NAME` -> the variable; `$env://NAME/key` -> that member of the JSON object in the variable."""

    def resolve(reference: str) -> str | Unresolved:
        if is_fetched(reference):
            return Unresolved(f"{reference}: {_NOT_HERE[is_file(reference)]} here", open=True)
        name, _, key = reference.partition("://")[2].partition("/")
        value = environ.get(name)
        if value is None:
            return Unresolved(f"{reference} can't be resolved: there is no such environment variable")
        if not key:
            return value
        try:
            member = orjson.loads(value)[key]
        except (ValueError, TypeError, LookupError):
            member = None
        if not isinstance(member, str):
            return Unresolved(f'{reference} can\'t be resolved: {name} is no JSON object with a text "{key}"')
        return member

    return resolve


def with_secrets(environ: Mapping[str, str], secrets: Mapping[str, str | Unresolved]) -> Resolve:
    """Also `$secret://` and `$file://`, from what was fetched: a mapping that its owner changes as time goes on."""
    environment = from_environment(environ)

    def resolve(reference: str) -> str | Unresolved:
        if not is_fetched(reference):
            return environment(reference)
        return secrets.get(reference, Unresolved(f"{reference} can't be resolved: it was not fetched yet"))

    return resolve


def left_open(resolve: Resolve) -> Resolve:
    """For checks of what others will serve: nothing that can't be resolved here is held against it."""

    def lenient(reference: str) -> str | Unresolved:
        found = resolve(reference)
        return found._replace(open=True) if isinstance(found, Unresolved) else found

    return lenient


def is_reference(text: str) -> bool:
    return _REFERENCE.match(text) is not None


def is_fetched(text: str) -> bool:
    """Whether it is the supervisor that knows what this stands for."""
    return text[:10].lower().startswith(_FETCHED)


def is_file(text: str) -> bool:
    return text[:8].lower() == "$file://"


def may_refer(packed: bytes) -> bool:
    """A cheap look at a packed value: False means that there is no reference in it."""
    return b"://" in packed and b"$" in packed


def secrets_in(value: Any) -> Iterator[str]:
    """Every `$secret://` and `$file://` reference in a value."""
    if isinstance(value, str):
        if is_fetched(value):
            yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from secrets_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from secrets_in(inner)


@dataclass(slots=True)
class Replaced:
    """A copy of a value with its references replaced. `used`: what each stood for; `faults`: those without an answer,
    with their place; `open`: places of those that somebody else may know."""

    value: Any = None
    used: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[Parts, str]] = field(default_factory=list)
    open: list[Parts] = field(default_factory=list)


class Resolver:
    """Replaces references. `checking`: the value won't be served here, so that open ones are no faults."""

    def __init__(self, resolve: Resolve, checking: bool = False) -> None:
        self._resolve = resolve
        self._checking = checking

    def replace(self, value: Any) -> Replaced:
        replaced = Replaced()
        replaced.value = self._replace(value, (), replaced)
        return replaced

    def _replace(self, value: Any, parts: Parts, replaced: Replaced) -> Any:
        if isinstance(value, dict):
            return {key: self._replace(inner, (*parts, key), replaced) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._replace(inner, (*parts, index), replaced) for index, inner in enumerate(value)]
        if not isinstance(value, str) or not _REFERENCE.match(value):
            return value
        found = self._resolve(value)
        if isinstance(found, str):
            replaced.used[value] = found
            return found
        if found.open and self._checking:
            replaced.open.append(parts)
        else:
            replaced.faults.append((parts, found.sentence))
        return value
