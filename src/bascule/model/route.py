"""A route: which requests, what happens to them, where they go."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from bascule.errors.apisix_text import ANY, ONE, ONE_OF_BOTH
from bascule.errors.sentences import Refused
from bascule.model.attributes import (
    Bool,
    FilterFunc,
    Host,
    Hosts,
    Id,
    Int,
    Ip,
    Methods,
    Plugins,
    Resource,
    Script,
    Status,
    TimeoutConf,
    Unique,
    Uri,
    one_of,
)
from bascule.model.upstream import Upstream
from bascule.model.websocket import WebsocketConf


class Route(Resource):
    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                one_of("uri", "uris"),
                {"anyOf": [{"required": [name]} for name in ("plugins", "upstream", "upstream_id", "service_id")]},
            ]
        }
    )

    uri: Uri | None = None
    uris: Annotated[tuple[Uri, ...], Field(min_length=1), Unique] | None = None
    host: Host | None = None
    hosts: Hosts | None = None
    remote_addr: Ip | None = None
    remote_addrs: Annotated[tuple[Ip, ...], Field(min_length=1), Unique] | None = None
    methods: Methods | None = None
    priority: Int = 0
    vars: list[Any] | None = None
    filter_func: FilterFunc = None
    plugins: Plugins | None = None
    plugin_config_id: Id | None = None
    script: Script = None
    script_id: Script = None
    upstream: Upstream | None = None
    upstream_id: Id | None = None
    service_id: Id | None = None
    timeout: TimeoutConf | None = None
    enable_websocket: Bool | None = None
    websocket: WebsocketConf | None = None  # our own
    status: Status = 1

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if (self.uri is None) == (self.uris is None):
            both = self.uri is not None
            raise Refused('needs exactly one of "uri" and "uris"', f"allOf 1 failed: {ONE_OF_BOTH if both else ONE}")
        if self.host is not None and self.hosts is not None:
            raise Refused('only one of "host" and "hosts" is allowed', "only one of host or hosts is allowed", True)
        if self.remote_addr is not None and self.remote_addrs is not None:
            sentence = 'only one of "remote_addr" and "remote_addrs" is allowed'
            raise Refused(sentence, "only one of remote_addr or remote_addrs is allowed", True)
        if self.plugins is None and self.upstream is None and self.upstream_id is None and self.service_id is None:
            sentence = 'needs at least one of "plugins", "upstream", "upstream_id" and "service_id"'
            raise Refused(sentence, f"allOf 2 failed: {ANY}")
        return self
