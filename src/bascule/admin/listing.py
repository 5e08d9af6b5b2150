"""Lists of resources: filters and pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from bascule.admin.answer import refuse

Item = dict[str, Any]  # key, value, createdIndex, modifiedIndex


def filtered(items: Sequence[Item], query: Mapping[str, str], fields: Sequence[str]) -> list[Item]:
    """`name`, `uri`: regular expressions; `label`: a label's name; `filter`: attribute=value&…, of `fields` alone."""
    found = list(items)
    if name := query.get("name"):
        pattern = _pattern("name", name)
        found = [item for item in found if pattern.search(str(item["value"].get("name", "")))]
    if uri := query.get("uri"):
        pattern = _pattern("uri", uri)
        found = [item for item in found if any(pattern.search(each) for each in _uris(item["value"]))]
    if label := query.get("label"):
        found = [item for item in found if label in (item["value"].get("labels") or {})]
    for field, wanted in dict(parse_qsl(query.get("filter", ""), keep_blank_values=True)).items():
        if field in fields:
            found = [item for item in found if str(item["value"].get(field, "")) == wanted]
    return found


def page_of(items: list[Item], query: Mapping[str, str]) -> list[Item]:
    """The page that is asked for; all when it isn't. Raises Refusal."""
    if "page" not in query or "page_size" not in query:
        return items
    size = _number(query["page_size"], 10)
    if not 10 <= size <= 500:
        raise refuse(400, "page_size must be between 10 and 500")
    page = max(1, _number(query["page"], 1))
    return items[(page - 1) * size : page * size]


def _number(text: str, default: int) -> int:
    try:
        return int(text)
    except ValueError:
        return default


def _pattern(what: str, text: str) -> re.Pattern[str]:
    if len(text) > 1024:
        raise refuse(400, f"the filter {what} has more than 1024 characters")
    try:
        return re.compile(text)
    except re.error as error:
        raise refuse(400, f"the filter {what} is not a regular expression: {error}") from None


def _uris(value: Mapping[str, Any]) -> list[str]:
    return [each for each in (value.get("uri"), *(value.get("uris") or ())) if isinstance(each, str)]
