"""A route as the engine uses it: the value that the router finds."""

from __future__ import annotations

from dataclasses import dataclass, field

from bascule.model.websocket import WebsocketConf
from bascule.snapshot.compiled_upstream import CompiledUpstream
from bascule.snapshot.merged_plugins import MergedPlugins
from bascule.snapshot.timeout import Timeout


@dataclass(slots=True, eq=False)
class CompiledRoute:
    """A changed route is a new object. What a route only refers to (upstream, service, plugin config) is rebound in
    place when that changes, with `plan` reset to None: an exchange asks for upstream and chain once and keeps what it
    got. Answer, in this order: `service_missing` 404, `refusal` 503, plugins, `upstream_missing` 502,
    no upstream 503."""

    id: str
    name: str | None = None
    uris: tuple[str, ...] = ()
    service_id: str | None = None
    service_name: str | None = None
    service_labels: dict[str, str] | None = None
    upstream: CompiledUpstream | None = None
    upstream_missing: str | None = None  # reason: the upstream_id names nothing
    service_missing: str | None = None  # reason: the service_id names nothing
    refusal: str | None = None  # reason: a part of the route can't be used
    websocket: bool = False
    websocket_limits: WebsocketConf | None = None
    timeout: Timeout | None = None  # beats the upstream's
    labels: dict[str, str] | None = None
    merged: MergedPlugins | None = field(default=None, repr=False)  # None: no plugins; see Tables.chain
    plan: object = field(default=None, repr=False)  # the engine's cache

    def __repr__(self) -> str:
        state = self.service_missing or self.refusal or self.upstream_missing
        return f"<route {self.id} {' '.join(self.uris)} -> {state or self.upstream}>"
