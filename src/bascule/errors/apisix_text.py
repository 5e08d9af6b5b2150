"""pydantic's errors in the words of APISIX, whose clients compare them: those of its JSON Schema library.

Its texts go from the outside in: `property "checks" validation failed: property "active" validation failed: …`. A model
says by markers in `Annotated[…]` where its own shape differs from APISIX's schema: `Told` where one text stands for all
that can be wrong (an anyOf), `Pattern` where a regular expression is spelt otherwise, `Keys` for a map by a pattern.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

Parts = Sequence[str | int]
ANY = "object matches none of the required"
ONE = "value should match only one schema, but matches none"
NOT = "value wasn't supposed to match schema"
BOTH = "value should match only one schema, but matches both schemas"
ONE_OF_BOTH = f"{BOTH} 1 and 2"


@dataclass(frozen=True, slots=True)
class Told:
    """Whatever is wrong with the value, or inside it, is told by this text. {value}, {key}: those at fault."""

    text: str
    semantic: bool = False  # not of the schema: told without "invalid configuration"


@dataclass(frozen=True, slots=True)
class Pattern:
    """The regular expression as APISIX's schema spells it."""

    source: str


@dataclass(frozen=True, slots=True)
class Keys:
    """A map whose values APISIX's schema describes by `patternProperties`."""

    pattern: str


MatchesAny = Told(ANY)
MatchesOne = Told(ONE)


def text_of(detail: ErrorDetails, parts: Parts, branched: bool, model: type[BaseModel] | None) -> tuple[str, bool]:
    """The text, and whether APISIX finds that fault after its schema check. `parts`: the place inside the value;
    `branched`: the error is of one branch of a union; `model`: what the value was checked against."""
    ctx = detail.get("ctx", {})
    if ctx.get("semantic"):
        return str(ctx.get("text") or ctx["sentence"]), True
    nesting = ""
    here = [_Place(model, ())] if model else []
    end = len(parts) - 1 if detail["type"] in ("missing", "extra_forbidden") else len(parts)
    for index, part in enumerate(parts[:end]):
        inside = list(_enter(here, part))
        nesting += _step(here, part)
        here = inside
        told = _marker(here, Told)
        if told is not None:
            value = detail["input"] if index == len(parts) - 1 else None
            text = told.text.replace("{key}", str(part)).replace("{value}", _quoted(_lua(value)))
            return (text, True) if told.semantic else (nesting + text, False)
    if detail["type"] == "refused":
        return nesting + str(ctx.get("text") or ctx["sentence"]), False
    if branched:
        return nesting + ANY, False
    return nesting + _leaf(detail, parts, here), False


def nested(parts: Parts, text: str) -> str:
    """The text of a fault at a place of which no model says more."""
    return "".join(_step([], part) for part in parts) + text


def wrong_type(expected: str, value: Any) -> str:
    return f"wrong type: expected {expected}, got {lua_type(value)}"


def no_match(pattern: str, value: str) -> str:
    return f"failed to match pattern {_quoted(pattern)} with {_quoted(value)}"


def dependent(attribute: str, text: str) -> str:
    """Of a rule that holds when `attribute` is there."""
    return f"failed to validate dependent schema for {_quoted(attribute)}: {text}"


@dataclass(frozen=True, slots=True)
class _Place:
    """An annotation that may describe the value at hand."""

    annotation: Any
    metadata: tuple[Any, ...]


def _enter(here: Sequence[_Place], part: str | int) -> Iterator[_Place]:
    for place in here:
        annotation = place.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            for name, field in annotation.model_fields.items():
                if part in (name, field.alias):
                    yield from _unfold(field.annotation, (*place.metadata[:0], *field.metadata))
            continue
        arguments = typing.get_args(annotation)
        origin = typing.get_origin(annotation)
        if origin is dict and isinstance(part, str):
            yield from _unfold(arguments[1], ())
        elif origin in (list, tuple, set, frozenset) and isinstance(part, int) and arguments:
            yield from _unfold(arguments[0], ())


def _unfold(annotation: Any, metadata: tuple[Any, ...]) -> Iterator[_Place]:
    """Annotated and unions, taken apart."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        yield from _unfold(inner, (*metadata, *_flat(more)))
    elif origin in (typing.Union, types.UnionType):
        for branch in typing.get_args(annotation):
            if branch is not type(None):
                yield from _unfold(branch, metadata)
    else:
        yield _Place(annotation, metadata)


def _flat(metadata: Sequence[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


M = typing.TypeVar("M")


def _marker(here: Sequence[_Place], kind: type[M]) -> M | None:
    return next((item for place in here for item in place.metadata if isinstance(item, kind)), None)


def _step(here: Sequence[_Place], part: str | int) -> str:
    if isinstance(part, int):
        return f"failed to validate item {part + 1}: "
    if any(typing.get_origin(place.annotation) is dict for place in here):
        keys = _marker(here, Keys)
        if keys is not None:
            return f"failed to validate {part} (matching {_quoted(keys.pattern)}): "
        return f"failed to validate additional property {part}: "
    return f"property {_quoted(part)} validation failed: "


def _leaf(detail: ErrorDetails, parts: Parts, here: Sequence[_Place]) -> str:
    kind, value, ctx = detail["type"], detail["input"], detail.get("ctx", {})
    last = str(parts[-1]) if parts else ""
    if kind == "missing":
        return f"property {_quoted(last)} is required"
    if kind == "extra_forbidden":
        return f"additional properties forbidden, found {last}"
    if kind in _TYPES:
        return wrong_type(_TYPES[kind], value)
    if kind in ("literal_error", "enum"):
        return "matches none of the enum values"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"expected {_lua(value)} to be {words} {_lua(ctx[name])}"
    if kind == "string_pattern_mismatch":
        written = _marker(here, Pattern)
        return no_match(written.source if written else ctx["pattern"], value)
    if kind == "string_too_short":
        return f"string too short, expected at least {ctx['min_length']}, got {len(value)}"
    if kind == "string_too_long":
        return f"string too long, expected at most {ctx['max_length']}, got {len(value)}"
    if kind in ("too_short", "too_long"):
        bound = f"least {ctx['min_length']}" if kind == "too_short" else f"most {ctx['max_length']}"
        return (
            f"expect object to have at {bound} properties"
            if isinstance(value, dict)
            else (f"expect array to have at {bound} items")
        )
    if kind in ("value_error", "assertion_error"):
        return str(ctx.get("error", detail["msg"]))
    return detail["msg"]


_TYPES = {
    "string_type": "string",
    "int_type": "integer",
    "int_parsing": "integer",
    "int_from_float": "integer",
    "float_type": "number",
    "float_parsing": "number",
    "finite_number": "number",
    "bool_type": "boolean",
    "bool_parsing": "boolean",
    "list_type": "array",
    "tuple_type": "array",
    "set_type": "array",
    "frozen_set_type": "array",
    "dict_type": "object",
    "mapping_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
    "none_required": "null",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "smaller than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}


def lua_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "table" if isinstance(value, dict | list | tuple) else "userdata"


def _lua(value: Any) -> str:
    """A value as Lua prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        try:
            return format(value, ".14g")
        except OverflowError:  # an integer that no float holds
            return "inf" if value > 0 else "-inf"
    return value if isinstance(value, str) else lua_type(value)


def _quoted(text: Any) -> str:
    """As Lua's %q, cut where nobody reads on."""
    shown = str(text)
    shown = shown if len(shown) <= 1000 else shown[:1000] + "..."
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\\n"), ("\r", "\\r"), ("\0", "\\0")):
        shown = shown.replace(plain, escaped)
    return f'"{shown}"'
