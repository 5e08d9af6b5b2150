"""A stream route: which TCP or UDP connections go where."""

from __future__ import annotations

from bascule.model.attributes import Host, Id, Ip, Json, Model, Plugins, Port, Resource, Str
from bascule.model.upstream import Upstream


class StreamLogger(Model):
    name: Str | None = None
    filter: list[object] | None = None
    conf: Json | None = None


class StreamProtocol(Model):
    name: Str
    superior_id: Id | None = None
    conf: Json | None = None
    logger: tuple[StreamLogger, ...] | None = None


class StreamRoute(Resource):
    remote_addr: Ip | None = None
    server_addr: Ip | None = None
    server_port: Port | None = None
    sni: Host | None = None
    upstream: Upstream | None = None
    upstream_id: Id | None = None
    service_id: Id | None = None
    plugins: Plugins | None = None
    protocol: StreamProtocol | None = None
