"""A service: what several routes have in common."""

from __future__ import annotations

from bascule.model.attributes import Bool, Hosts, Id, Plugins, Resource, Script
from bascule.model.upstream import Upstream


class Service(Resource):
    plugins: Plugins | None = None
    upstream: Upstream | None = None
    upstream_id: Id | None = None
    script: Script = None
    enable_websocket: Bool | None = None
    hosts: Hosts | None = None
