"""The upstreams with `checks` that a resource holds: itself, inline, or in the conf of a plugin, with their keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from bascule.model.change import Change

INLINE = "#upstream"


def checked_upstreams(change: Change) -> Iterator[tuple[str, dict[str, Any]]]:
    """(CompiledUpstream.key, value). None of a route that is switched off."""
    value = change.value
    if not isinstance(value, dict) or (change.kind == "routes" and value.get("status") == 0):
        return
    holder = f"{change.kind}/{change.id}"
    if change.kind == "upstreams":
        if value.get("checks"):
            yield holder, value
        return
    upstream = value.get("upstream")
    if change.kind in ("routes", "services") and isinstance(upstream, dict) and upstream.get("checks"):
        yield f"{holder}{INLINE}", upstream
    plugins = value.get("plugins")
    if plugins and _mentions_checks(plugins):
        yield from _inside(plugins, f"{holder}#plugins")


def _mentions_checks(plugins: Any) -> bool:
    """Cheaper than a walk through all, which few need."""
    try:
        return b'"checks"' in orjson.dumps(plugins)
    except TypeError:  # no JSON: refused by whoever uses it
        return False


def _inside(value: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        if value.get("checks") and ("nodes" in value or "service_name" in value):
            yield key, value
        for name, inner in value.items():
            if isinstance(inner, dict | list):
                yield from _inside(inner, f"{key}/{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            if isinstance(inner, dict | list):
                yield from _inside(inner, f"{key}/{number}")
