"""Lists of resources: filters and pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from bascule.admin.answer import refuse
from bascule.match.regex import RegexError, compile_regex

Item = dict[str, Any]  # key, value, createdIndex, modifiedIndex
T = TypeVar("T")
SEARCH_S = 0.5  # all searches of one filter together: an expression can be made to take years


class Search:
    """Whether a text holds what an expression describes. Raises Refusal when that takes too long."""

    def __init__(self, what: str, pattern: str) -> None:
        """`what` it is a filter of; `pattern` in Python's notation. Raises RegexError."""
        import regex  # by the first filter: a gateway starts without it

        self._what = what
        # Not Python's own: that one can't be stopped, and lets nothing else run meanwhile.
        try:
            self._pattern = regex.compile(pattern, regex.ASCII)
        except regex.error as error:
            raise RegexError(str(error)) from None
        self._left_s = SEARCH_S

    def __call__(self, text: str) -> bool:
        began = time.monotonic()
        try:
            found = self._pattern.search(text, timeout=max(0.0, self._left_s), concurrent=True)
        except TimeoutError:
            raise refuse(400, f"the filter {self._what} takes longer than {SEARCH_S} s to look for") from None
        self._left_s -= time.monotonic() - began
        return found is not None


@dataclass(frozen=True, slots=True)
class Filter:
    """`name`, `uri`: regular expressions that are searched for; `label`: a label's name; `exact`: attribute, value."""

    name: Search | None = None
    uri: Search | None = None
    label: str | None = None
    exact: tuple[tuple[str, str], ...] = ()

    @property
    def passes_all(self) -> bool:
        return self == Filter()

    def passes(self, value: Mapping[str, Any]) -> bool:
        """`value`: of a resource, of any shape. Raises Refusal."""
        if self.name is not None and not self.name(_text(value.get("name"))):
            return False
        if self.uri is not None and not any(map(self.uri, _uris(value))):
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
        _search("name", query.get("name")),
        _search("uri", query.get("uri")),
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


def _search(what: str, text: str | None) -> Search | None:
    if not text:
        return None
    if len(text) > 1024:
        raise refuse(400, f"the filter {what} has more than 1024 characters")
    try:
        return Search(what, compile_regex(text).pattern)
    except RegexError as error:
        raise refuse(400, f"the filter {what} is not a regular expression: {error}") from None


def _uris(value: Mapping[str, Any]) -> Iterator[str]:
    uris = value.get("uris")
    for uri in (value.get("uri"), *(uris if isinstance(uris, list) else ())):
        if isinstance(uri, str):
            yield uri


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else ""
