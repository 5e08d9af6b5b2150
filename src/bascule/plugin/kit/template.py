"""Strings of a configuration that hold variables: `$name`, `${name}`, `${name ?? default}`; `\\$` is a dollar."""

import re
from typing import Any, Protocol

_REFERENCE = re.compile(r"\\\$|\$(?:(post_arg(?:\.\w+)+|\w+)|\{\s*([^\s{}?]+)\s*(?:\?\?\s*([^{}]*?)\s*)?\})", re.ASCII)


class Variables(Protocol):
    def var(self, name: str, /) -> Any: ...


class Reference:
    """A variable in a template."""

    __slots__ = ("default", "name")

    def __init__(self, name: str, default: str) -> None:
        self.name = name
        self.default = default

    def text(self, variables: Variables) -> str:
        value = variables.var(self.name)
        if isinstance(value, str):
            return value
        return self.default if value is None else text_of(value)


class Template:
    """Made once; `render` fills in what this request's variables are. One without a value gives its default, or ""."""

    __slots__ = ("_only", "constant", "parts", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.parts: tuple[str | Reference, ...] = tuple(_parts(source))
        only = self.parts[0] if len(self.parts) == 1 else None
        self._only = only if isinstance(only, Reference) else None
        # The whole text, when there is nothing to fill in.
        self.constant = "".join(map(str, self.parts)) if all(isinstance(part, str) for part in self.parts) else None

    def render(self, variables: Variables) -> str:
        if self.constant is not None:
            return self.constant
        if self._only is not None:
            return self._only.text(variables)
        return "".join([part if isinstance(part, str) else part.text(variables) for part in self.parts])

    __call__ = render

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables in it."""
        return frozenset(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.name for part in self.parts if isinstance(part, Reference))

    def __repr__(self) -> str:
        return f"Template({self.source!r})"


def text_of(value: Any) -> str:
    """How a variable's value is written: booleans as in JSON, whole numbers without a point, lists with commas."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(text_of(item) for item in value)
    return str(value)


def _parts(source: str) -> list[str | Reference]:
    parts: list[str | Reference] = []
    literal = ""
    end = 0
    for found in _REFERENCE.finditer(source):
        literal += source[end : found.start()]
        end = found.end()
        name = found[1] or found[2]
        if name is None:
            literal += "$"
            continue
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(Reference(name, found[3] or ""))
    literal += source[end:]
    if literal:
        parts.append(literal)
    return parts
