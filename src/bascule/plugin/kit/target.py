"""Targets of requests (path with query), taken apart and put together."""

from bascule.plugin.quoting import decode_arg


def without_arg(target: str, name: str) -> str:
    """The target without the query's arguments of this (decoded) name; the others stay as they are spelt."""
    path, mark, query = target.partition("?")
    if not mark:
        return target
    parts = query.split("&")
    kept = [part for part in parts if decode_arg(part.partition("=")[0]) != name]
    return target if len(kept) == len(parts) else f"{path}?{'&'.join(kept)}" if kept else path


def with_query(target: str, query: str) -> str:
    """The target with this raw query after its own."""
    if not query:
        return target
    return f"{target}{'&' if '?' in target else '?'}{query}"
