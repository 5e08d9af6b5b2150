"""JSONPath as `post_arg.` variables use it: names, indexes, [*] and the recursive descent `..`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_STEP = re.compile(
    r"""(?P<deep>\.\.)?
        (?: \.?\[ (?: (?P<all>\*) | (?P<index>-?\d+) | '(?P<quoted>[^']*)' | "(?P<double>[^"]*)" ) \]
          | (?P<dot>\.?) (?: (?P<any>\*) | (?P<name>[^.\[\]*'"]+) ) )""",
    re.VERBOSE,
)
_ALL = object()


@dataclass(frozen=True, slots=True)
class JsonPath:
    """`value(document)`: the one value, or None; a list of all matches when the path has [*] or `..`."""

    steps: tuple[tuple[bool, Any], ...]  # (any depth below, name | index | _ALL)
    many: bool

    def value(self, document: Any) -> Any:
        found = self.matches(document)
        if self.many:
            return list(found) or None
        return next(found, None)

    def matches(self, document: Any) -> Iterator[Any]:
        return _walk(document, self.steps)


@lru_cache(maxsize=1024)
def parse_json_path(text: str) -> JsonPath:
    """A leading `$` or `$.` may be absent. ValueError when it isn't a path."""
    rest = text.removeprefix("$")
    steps: list[tuple[bool, Any]] = []
    position = 0
    while position < len(rest):
        match = _STEP.match(rest, position)
        if match is None or (position and match["name"] and not (match["deep"] or match["dot"])):
            raise ValueError(f"not a JSONPath: {text!r} (at {rest[position:]!r})")
        if match["all"] or match["any"]:
            key: Any = _ALL
        elif match["index"] is not None:
            key = int(match["index"])
        else:
            key = next(match[group] for group in ("name", "quoted", "double") if match[group] is not None)
        steps.append((match["deep"] is not None, key))
        position = match.end()
    if not steps:
        raise ValueError(f"not a JSONPath: {text!r}")
    return JsonPath(tuple(steps), any(deep or key is _ALL for deep, key in steps))


def _walk(node: Any, steps: tuple[tuple[bool, Any], ...]) -> Iterator[Any]:
    if not steps:
        yield node
        return
    (deep, key), rest = steps[0], steps[1:]
    for parent in _descendants(node) if deep else (node,):
        for child in _children(parent, key):
            yield from _walk(child, rest)


def _children(node: Any, key: Any) -> Iterator[Any]:
    if key is _ALL:
        yield from node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    elif isinstance(node, dict):
        if key in node:
            yield node[key]
    elif isinstance(node, list) and isinstance(key, int) and -len(node) <= key < len(node):
        yield node[key]


def _descendants(node: Any) -> Iterator[Any]:
    """The node and everything below it; iterative, for a client chooses the depth."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict):
            waiting.extend(reversed(node.values()))
        elif isinstance(node, list):
            waiting.extend(reversed(node))
