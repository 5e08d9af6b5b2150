"""The lines of places in a JSON text. Made only when an error has to be shown: the parser of files keeps none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

_BLANK = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SCALAR = re.compile(r"[^\s,\]}]+")
_decode = json.JSONDecoder(strict=False).raw_decode


class JsonPositions:
    """Of a text that is known to be JSON. Finding a place costs the decoding of what stands before it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def line(self, path: Sequence[str | int]) -> int:
        """The line of the deepest part of `path` that exists: of its key in an object, of the item in a list."""
        place = here = self._skip(0)
        for part in path:
            found = self._enter(here, part)
            if found is None:
                break
            place, here = found
        return self._text.count("\n", 0, place) + 1

    def _enter(self, start: int, part: str | int) -> tuple[int, int] | None:
        """(where to point at, where the value begins) of a member of the container at `start`."""
        for place, key, begin in self._members(start):
            if key == part:
                return place, begin
        return None

    def _members(self, at: int) -> Iterator[tuple[int, str | int, int]]:
        text = self._text
        opening = text[at]
        if opening not in "{[":
            return
        at = self._skip(at + 1)
        position = 0
        while text[at] not in "}]":
            place = at
            key: str | int = position
            if opening == "{":
                end = self._end(at)
                key = json.loads(text[at:end], strict=False)
                at = self._skip(self._skip(end) + 1)
            yield place, key, at
            at = self._skip(self._end(at))
            if text[at] == ",":
                at = self._skip(at + 1)
            position += 1

    def _end(self, at: int) -> int:
        """Behind the value at `at`."""
        opening = self._text[at]
        if opening == '"':
            match = _STRING.match(self._text, at)
        elif opening in "{[":
            return _decode(self._text, at)[1]
        else:
            match = _SCALAR.match(self._text, at)
        assert match is not None, "the text was parsed before"
        return match.end()

    def _skip(self, at: int) -> int:
        match = _BLANK.match(self._text, at)
        return at if match is None else match.end()
