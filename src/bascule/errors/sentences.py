"""One translator from pydantic's errors to plain sentences with JSON paths. All errors of a value at once."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from bascule.errors.apisix_text import nested, text_of
from bascule.errors.fault import INVALID, Fault

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_\-]+\Z")


# More of one value are told by nobody, and a hostile one has hundreds of thousands.
MOST = 200


class Refused(PydanticCustomError):
    """Raised by a validator: the sentence is shown as it is. `text`: APISIX's words for the same, if they differ;
    `semantic`: it finds that after its schema check, so that "invalid configuration" isn't written before it."""

    def __new__(cls, sentence: str, text: str | None = None, semantic: bool = False) -> Refused:
        # Braces would be taken for placeholders of the error's context.
        context = {"sentence": sentence, "text": text, "semantic": semantic}
        return super().__new__(cls, "refused", "{sentence}", context)

    def __init__(self, sentence: str, text: str | None = None, semantic: bool = False) -> None:
        super().__init__()  # type: ignore[call-arg]  # everything is set in __new__


def json_path(parts: Sequence[str | int], root: str = "$") -> str:
    """("a", "b-c", 0, "d.e") -> $.a.b-c[0]["d.e"]"""
    path = root
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            path += f".{part}"
        else:
            path += '["' + part.replace('"', '\\"') + '"]'
    return path


def sentences(
    error: ValidationError, value: object, model: type[BaseModel] | None = None, root: str = "$"
) -> list[tuple[str, str]]:
    """(JSON path, sentence) of each error. `value` is what was validated; with `model`, the nearest known name is
    suggested for an unknown attribute. Errors of the branches of a union are told as one."""
    return [(path, sentence) for path, sentence, _, _ in _told(error, value, model, root)]


def faults(
    error: ValidationError, value: object, model: type[BaseModel], parts: Sequence[str | int] = ()
) -> list[Fault]:
    """The same with APISIX's words. `parts`: where the value stands in its resource."""
    return [
        placed(parts, path, sentence, text, semantic)
        for path, sentence, text, semantic in _told(error, value, model, json_path(parts))
    ]


def placed(parts: Sequence[str | int], path: str, sentence: str, text: str, semantic: bool = False) -> Fault:
    """`text`: APISIX's of a fault inside what stands at `parts`; the conf of a plugin has its own beginning."""
    if len(parts) > 1 and parts[0] == "plugins":
        inner = text if semantic else nested(parts[2:], text)
        return Fault(path, sentence, f"failed to check the configuration of plugin {parts[1]} err: {inner}", "")
    return Fault(path, sentence, text, "") if semantic else Fault(path, sentence, nested(parts, text), INVALID)


def _told(
    error: ValidationError, value: object, model: type[BaseModel] | None, root: str
) -> Iterator[tuple[str, str, str, bool]]:
    """(JSON path, sentence, APISIX's text, whether that is of a semantic check)"""
    found: dict[str, list[tuple[str, str, bool]]] = {}
    details = error.errors(include_url=False)
    short = {detail["loc"] for detail in details if detail["type"] == "too_short"}
    # Only those items counted that are valid.
    spoilt = {
        loc for loc in short for other in details if len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc
    }
    for detail in details:
        if detail["type"] == "too_short" and detail["loc"] in spoilt:
            continue
        parts, branched = _place(detail["loc"], value, detail["type"])
        path = json_path(parts, root)
        if path not in found and len(found) == MOST:
            found[root] = [
                *found.get(root, ()),
                (f"has more faults than the {MOST} that are told", "too many faults", False),
            ]
            break
        told = found.setdefault(path, [])
        sentence = _sentence(detail, parts, model)
        if branched and told and told[-1][0].startswith("must be ") and sentence.startswith("must be "):
            if sentence[8:] not in told[-1][0][8:].split(" or "):
                told[-1] = (f"{told[-1][0]} or {sentence[8:]}", *told[-1][1:])
        elif all(sentence != other for other, _, _ in told):
            told.append((sentence, *text_of(detail, parts, branched, model)))
    for path, all_told in found.items():
        for sentence, text, semantic in all_told:
            yield path, sentence, text, semantic


def nearest(name: str, known: Sequence[str]) -> str:
    """`; did you mean "x"?` or an empty string."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


_ABSENT = object()


def _place(loc: tuple[int | str, ...], value: Any, kind: str) -> tuple[list[str | int], bool]:
    """The location inside `value`, without the names of union branches and validators that pydantic puts in."""
    parts: list[str | int] = []
    branched = False
    for index, part in enumerate(loc):
        inner = _enter(value, part)
        if inner is not _ABSENT:
            value = inner
        elif part == "[key]":
            continue
        elif kind != "missing" or index < len(loc) - 1:
            branched = True
            continue
        parts.append(part)
    return parts, branched


def _enter(value: Any, part: int | str) -> Any:
    if isinstance(value, dict):
        return value.get(part, _ABSENT)
    if isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
        return value[part]
    return _ABSENT


def _sentence(detail: ErrorDetails, parts: list[str | int], model: type[BaseModel] | None) -> str:
    kind, ctx = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(_names(model, parts[:-1])) if model else []
        return f'unknown attribute "{parts[-1]}"{nearest(str(parts[-1]), known)}' if parts else "unknown attribute"
    if kind == "value_error":
        return str(ctx.get("error", detail["msg"]))
    if kind == "assertion_error":
        return str(ctx.get("error", "")) or "is not valid"
    if kind == "refused":
        return str(ctx["sentence"])
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _TOLD:
        return _TOLD[kind].format(**{name: _plain(limit) for name, limit in ctx.items()})
    if kind in ("too_short", "too_long"):
        limit = ctx["min_length"] if kind == "too_short" else ctx["max_length"]
        bound = "at least" if kind == "too_short" else "at most"
        return f"must hold {bound} {limit} {'item' if limit == 1 else 'items'}"
    if kind.startswith("string_too_"):
        limit = ctx["min_length"] if kind == "string_too_short" else ctx["max_length"]
        bound = "at least" if kind == "string_too_short" else "at most"
        return f"must have {bound} {limit} {'character' if limit == 1 else 'characters'}"
    message = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return message if message == detail["msg"] else f"must be {message}"


def _plain(limit: Any) -> Any:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


_FIXED = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "none_required": "must be null",
    "decimal_type": "must be a number",
    "recursion_loop": "refers to itself",
}
_TOLD = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "needs {discriminator}",
}


def _names(model: type[BaseModel], parts: Sequence[str | int]) -> Iterator[str]:
    """Attribute names that are known at the place `parts` inside `model`."""
    models = {model}
    for part in parts:
        inner: set[type[BaseModel]] = set()
        for candidate in models:
            if isinstance(part, int) or part not in _fields(candidate):
                inner.add(candidate)  # an item of a list or of a map: the annotation was entered with its name
            else:
                inner.update(_models(_fields(candidate)[part]))
        models = inner
    for candidate in models:
        yield from _fields(candidate)


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)
