"""A service: what several routes have in common."""

from __future__ import annotations

from bascule.model.attributes import Bool, Hosts, Id, Plugins, Resource, Script
from bascule.model.upstream import Upstream
from bascule.model.websocket import WebsocketConf


class Service(Resource):
    plugins: Plugins | None = None
    upstream: Upstream | None = None
    upstream_id: Id | None = None
    script: Script = None
    enable_websocket: Bool | None = None
    websocket: WebsocketConf | None = None  # our own
    hosts: Hosts | None = None
