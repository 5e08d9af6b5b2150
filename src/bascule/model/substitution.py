"""`${{VAR}}` and `${{VAR:=default}}` in configuration files: replaced by environment variables before parsing.

In YAML the reference becomes a placeholder first, and the parsed scalar gets the value: so a value may hold any
character (a PEM text, a password with `#` or `: `) and never changes the structure of the file, and a reference in a
comment asks for nothing. Otherwise the result is what textual replacement gives: in quotes it stays a string, unquoted
it is typed as if it had been written there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

REFERENCE = re.compile(r"\$\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?::=(.*?))?\s*\}\}")
_JSON_PART = re.compile(r'"(?:[^"\\]|\\.)*"|' + REFERENCE.pattern)
PLACEHOLDER = re.compile("xBasculeVar([0-9]+)x")


class MissingVariable(Exception):
    """A variable without default that the environment lacks. `line` counts from 1."""

    def __init__(self, name: str, line: int) -> None:
        self.name = name
        self.line = line
        super().__init__(f"environment variable {name} is not set, and ${{{{{name}}}}} gives no default")


class Placeholders:
    """The references of one YAML text, each standing there as a word until its scalar is parsed. `environ` None: they
    stay as they are."""

    def __init__(self, text: str, environ: Mapping[str, str] | None) -> None:
        self._references: list[tuple[str, str | None]] = []
        self._environ = environ or {}
        self.text = REFERENCE.sub(self._hold, text) if environ is not None and "${{" in text else text

    def __bool__(self) -> bool:
        return bool(self._references)

    def fill(self, scalar: str, line: int) -> str:
        """`scalar` with the values in place of the placeholders. Raises MissingVariable."""

        def value(match: re.Match[str]) -> str:
            index = int(match[1])
            if index >= len(self._references):
                return match[0]
            return _value(*self._references[index], self._environ, line)

        return PLACEHOLDER.sub(value, scalar)

    def _hold(self, match: re.Match[str]) -> str:
        self._references.append((match[1], match[2]))
        return f"xBasculeVar{len(self._references) - 1}x"


def substitute_json(text: str, environ: Mapping[str, str]) -> str:
    """A JSON text with its references replaced: escaped inside strings, as they are outside. Raises MissingVariable."""

    def replace(match: re.Match[str]) -> str:
        whole, start = match[0], match.start()
        if not whole.startswith('"'):
            return _value(match[1], match[2], environ, text.count("\n", 0, start) + 1)
        if "${{" not in whole:
            return whole

        def escaped(inner: re.Match[str]) -> str:
            name, default = inner[1], inner[2]
            if name not in environ and default is not None:
                return default.strip()  # a JSON string's own text: escaped as it has to be
            return json.dumps(_value(name, default, environ, text.count("\n", 0, start) + 1))[1:-1]

        return REFERENCE.sub(escaped, whole)

    return _JSON_PART.sub(replace, text) if "${{" in text else text


def _value(name: str, default: str | None, environ: Mapping[str, str], line: int) -> str:
    value = environ.get(name)
    if value is not None:
        return value
    if default is None:
        raise MissingVariable(name, line)
    return default.strip()
