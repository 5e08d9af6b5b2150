"""An upstream that a plugin holds, besides the one of the route."""

from __future__ import annotations

from typing import Any

Place = tuple[str | int, ...]


class UpstreamHandle:
    """What `host.upstream` gives while a plugin is built, and `request.use_upstream` takes.

    Of an upstream by id, what it is now is looked up when it is used: edits of it need no new plugin."""

    __slots__ = ("at", "compiled", "conf", "generation", "id", "key", "plans")

    def __init__(self, key: str, at: Place, id: str | None = None, conf: Any = None, compiled: Any = None) -> None:
        self.key = key  # identity over versions: "routes/1#plugins/traffic-split/rules/0/upstream", "upstreams/7"
        self.at = at  # where it stands in the plugin's conf
        self.id = id  # of /upstreams; None: inline
        self.conf = conf  # model/upstream.py's Upstream of an inline one
        self.compiled = compiled  # what the engine uses, of an inline one
        self.generation = -1  # of the tables that `plans` are made of
        self.plans: dict[Any, Any] = {}  # the engine's, by the timeout of the route

    def __repr__(self) -> str:
        return f"<handle of {self.key}>"
