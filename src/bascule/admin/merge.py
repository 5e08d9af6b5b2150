"""How a PATCH changes a resource: the whole merged, or one place replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class NoSuchPlace(ValueError):
    """Something that is no object stands in the way of a sub-path."""


def merged(value: Any, patch: Any) -> Any:
    """Objects merge, anything else replaces, null takes away. Neither argument is changed."""
    if not isinstance(value, dict) or not isinstance(patch, dict):
        return patch
    result = dict(value)
    for key, inner in patch.items():
        if inner is None:
            result.pop(key, None)
        elif isinstance(inner, dict):
            result[key] = merged(result.get(key) if isinstance(result.get(key), dict) else {}, inner)
        else:
            result[key] = inner
    return result


def replaced(value: dict[str, Any], path: Sequence[str], node: Any) -> dict[str, Any]:
    """A copy with `node` at `path`; null takes the place away. Raises NoSuchPlace."""
    result = dict(value)
    holder = result
    for key in path[:-1]:
        inner = holder.get(key, {})
        if not isinstance(inner, dict):
            raise NoSuchPlace(f"invalid sub-path: /{'/'.join(path)}")
        holder[key] = dict(inner)
        holder = holder[key]
    if node is None:
        holder.pop(path[-1], None)
    else:
        holder[path[-1]] = node
    return result
