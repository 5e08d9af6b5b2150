"""Lists of resources: filters and pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from bascule.admin.answer import refuse
from bascule.match.regex import RegexError, compile_regex

Item = dict[str, Any]  # key, value, createdIndex, modifiedIndex
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filter:
    """`name`, `uri`: regular expressions that are searched for; `label`: a label's name; `exact`: attribute, value."""

    name: re.Pattern[str] | None = None
    uri: re.Pattern[str] | None = None
    label: str | None = None
    exact: tuple[tuple[str, str], ...] = ()

    @property
    def passes_all(self) -> bool:
        return self == Filter()

    def passes(self, value: Mapping[str, Any]) -> bool:
        """`value`: of a resource, of any shape."""
        if self.name is not None and not self.name.search(_text(value.get("name"))):
            return False
        if self.uri is not None and not any(map(self.uri.search, _uris(value))):
            return False
        if self.label is not None:
            labels = value.get("labels")
            if not isinstance(labels, dict) or self.label not in labels:
                return False
        return all(_text(value.get(field)) == wanted for field, wanted in self.exact)


def filter_of(query: Mapping[str, str], fields: Sequence[str]) -> Filter:
    """`filter`: attribute=value&…, of `fields` alone; the last one of an attribute counts. Raises Refusal."""
    exact = dict(parse_qsl(query.get("filter", ""), keep_blank_values=True))
    return Filter(
        _pattern("name", query.get("name")),
        _pattern("uri", query.get("uri")),
        query.get("label") or None,
        tuple((field, exact[field]) for field in fields if field in exact),
    )


def page_of(query: Mapping[str, str]) -> Callable[[Sequence[T]], Sequence[T]]:
    """What cuts out the page that is asked for; all when none is. Raises Refusal."""
    if "page" not in query or "page_size" not in query:
        return lambda items: items
    size = _number(query["page_size"], 10)
    if not 10 <= size <= 500:
        raise refuse(400, "page_size must be between 10 and 500")
    start = (max(1, _number(query["page"], 1)) - 1) * size
    return lambda items: items[start : start + size]


def _number(text: str, default: int) -> int:
    try:
        return int(text) if len(text) < 20 else default
    except ValueError:
        return default


def _pattern(what: str, text: str | None) -> re.Pattern[str] | None:
    if not text:
        return None
    if len(text) > 1024:
        raise refuse(400, f"the filter {what} has more than 1024 characters")
    try:
        pattern: re.Pattern[str] = compile_regex(text)
    except RegexError as error:
        raise refuse(400, f"the filter {what} is not a regular expression: {error}") from None
    return pattern


def _uris(value: Mapping[str, Any]) -> Iterator[str]:
    uris = value.get("uris")
    for uri in (value.get("uri"), *(uris if isinstance(uris, list) else ())):
        if isinstance(uri, str):
            yield uri


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else ""
