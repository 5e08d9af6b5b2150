"""The standalone document: all resources in one text, as apisix.yaml has them. The same state gives the same text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import yaml

from bascule.model.yaml_document import YamlDocument, YamlRefused
from bascule.store.keys import KINDS, NESTED

Item = tuple[str, str]  # kind, id
Items = Mapping[Item, Mapping[str, Any]]

TIMES = ("create_time", "update_time")  # that a store keeps by itself

# What a reader looks for first; the other attributes follow by name.
_FIRST = ("id", "username", "name", "desc", "labels", "status", "priority", "uri", "uris", "host", "hosts", "methods")
_RANK = {attribute: rank for rank, attribute in enumerate(_FIRST)}
_DIGITS = re.compile(r"(\d+)")


def document_of(items: Items, *, times: bool = False) -> dict[str, list[dict[str, Any]]]:
    """{kind: [resource, …]} in the standalone form; kinds without resources are left out. `times`: with create_time and
    update_time, that the store keeps by itself."""
    lists: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for kind, id in in_order(items):
        lists[NESTED.get(kind, kind)].append(_written(kind, id, items[kind, id], times))
    return {kind: values for kind, values in lists.items() if values}


def in_order(items: Iterable[Item]) -> list[Item]:
    """By kind, then by id: "2" before "10", credentials behind their consumer."""
    return sorted(items, key=lambda item: _order(*item))


def as_json(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def as_yaml(document: Mapping[str, Any], *, end: bool = True) -> bytes:
    """`end`: with the line #END, so that it can be served as an apisix.yaml."""
    text = yaml.dump(
        dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False
    )
    return (text + "#END\n" if end else text).encode()


class BodyRefused(ValueError):
    """The text is no document; the sentence says why."""


def parse_body(body: bytes, content_type: str, environ: Mapping[str, str] | None = None) -> Any:
    """A document from JSON or, when the content type says so, YAML. `environ`: what `${{NAME}}` stands for; None: such
    references stay as they are. Raises BodyRefused."""
    if not body.strip():
        raise BodyRefused("empty request body")
    if "yaml" in content_type.lower():
        return _parse_yaml(body, environ)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_lenient(body)


def _parse_lenient(body: bytes) -> Any:
    """As APISIX's parser: control characters may stand in strings."""
    try:
        return json.loads(body, strict=False)
    except (ValueError, RecursionError) as error:
        raise BodyRefused(str(error) or "is nested too deeply") from None


def _parse_yaml(body: bytes, environ: Mapping[str, str] | None) -> Any:
    try:
        return YamlDocument(body, environ).value
    except YamlRefused as refused:
        line, _, sentence = refused.faults[0]
        raise BodyRefused(sentence if line is None else f"line {line}: {sentence}") from None


def _order(kind: str, id: str) -> tuple[Any, ...]:
    owner = NESTED.get(kind, kind)
    natural = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(id) if part]
    return KINDS.index(owner), natural, id


def _written(kind: str, id: str, value: Mapping[str, Any], times: bool) -> dict[str, Any]:
    attributes = ordered(value)
    if not times:
        for attribute in TIMES:
            attributes.pop(attribute, None)
    attributes.pop("id", None)
    named = {} if kind == "consumers" else {"id": id}
    return {**named, **attributes}


def ordered(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a resource with its attributes in the order in which they are shown."""
    return {key: _sorted(value[key]) for key in sorted(value, key=lambda key: (_RANK.get(key, len(_RANK)), key))}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


class _Dumper(yaml.CSafeDumper):
    """Texts of several lines (certificates, schemas) stand as blocks; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.CSafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
