"""An upstream: the servers behind a route, as a resource or inline in a route, a service or a plugin."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, cast

from pydantic import ConfigDict, Field, Strict, model_validator

from bascule.errors.apisix_text import NOT, ONE, ONE_OF_BOTH, dependent, no_match
from bascule.errors.fault import INVALID
from bascule.errors.sentences import Refused
from bascule.model.attributes import Bool, Cert, Host, Id, Json, Key, Model, Resource, Str, TimeoutConf, Unique
from bascule.model.health_check import Checks
from bascule.model.locality import Locality
from bascule.model.node import MapNode, NodeConf, Nodes
from bascule.model.outlier_detection import NodeBreaker, OutlierDetection
from bascule.model.retry_policy import RetryPolicy
from bascule.model.slow_start import SlowStart
from bascule.model.sticky import Sticky

Positive = Annotated[int, Strict(), Field(ge=1)]
NotNegative = Annotated[int, Strict(), Field(ge=0)]
Duration = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]

_VARIABLE = re.compile(
    r"(uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id"
    r"|arg_[0-9a-zA-Z_\-]+)\Z"
)
_FIELD = re.compile(r"[a-zA-Z0-9\-_]+\Z")
_TEMPLATE = re.compile(r"(\$[0-9a-zA-Z_\-]+)+")
# As APISIX tells them.
APISIX_VARIABLE = (
    "^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)"
    "|arg_[0-9a-zA-z_-]+)$"
)
APISIX_FIELD = "^[a-zA-Z0-9-_]+$"
_APISIX_TEMPLATE = r"(\$[0-9a-zA-Z_-]+)+"


def _no_match(pattern: str, key: str) -> str:
    return f"{INVALID}{no_match(pattern, key)}"


class KeepalivePool(Model):
    """Idle connections per node; `idle_timeout` in seconds."""

    size: Positive = 320
    idle_timeout: Duration = 60
    requests: Positive = 1000


class UpstreamTls(Model):
    client_cert_id: Id | None = None
    client_cert: Cert | None = None
    client_key: Key | None = None
    verify: Bool = False
    # Our own.
    ca_certs: Cert | None = None
    ssl_protocols: (
        Annotated[tuple[Literal["TLSv1.1", "TLSv1.2", "TLSv1.3"], ...], Field(min_length=1, max_length=3), Unique]
        | None
    ) = None

    @model_validator(mode="after")
    def _one_certificate(self) -> Self:
        if (self.client_cert is None) != (self.client_key is None):
            given, absent = ("client_cert", "client_key") if self.client_cert else ("client_key", "client_cert")
            text = dependent(given, f'property "{absent}" is required')
            raise Refused('"client_cert" and "client_key" need each other', text)
        if self.client_cert_id is not None and self.client_cert is not None:
            sentence = 'only one of "client_cert_id" and "client_cert" is allowed'
            raise Refused(sentence, dependent("client_cert", NOT))
        return self


class Upstream(Resource):
    """`nodes`, or `service_name` with `discovery_type`."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["nodes"]}, {"required": ["service_name", "discovery_type"]}]}
    )

    nodes: Nodes | None = None
    service_name: Annotated[str, Strict(), Field(min_length=1, max_length=256)] | None = None
    discovery_type: Str | None = None
    discovery_args: Json | None = None
    type: Str = "roundrobin"
    hash_on: Literal["vars", "header", "cookie", "consumer", "vars_combinations"] = "vars"
    key: Str | None = None
    scheme: Literal["http", "https", "grpc", "grpcs", "tcp", "tls", "udp", "kafka"] = "http"
    http2: Bool = False  # our own: for scheme http, which APISIX speaks in HTTP/1.1
    pass_host: Literal["pass", "node", "rewrite"] = "pass"
    upstream_host: Host | None = None
    retries: NotNegative | None = None
    retry_timeout: Duration | None = None
    retry_policy: RetryPolicy | None = None  # our own, as the next two
    outlier_detection: OutlierDetection | None = None
    breaker: NodeBreaker | None = None
    timeout: TimeoutConf | None = None
    tls: UpstreamTls | None = None
    keepalive_pool: KeepalivePool | None = None
    sticky: Sticky | None = None  # our own, as are the next two
    slow_start: SlowStart | None = None
    locality: Locality | None = None
    proxy_protocol: Literal["v1", "v2"] | None = None  # our own: the header that tells the node who the client is
    checks: Checks | None = None

    def node_list(self) -> tuple[NodeConf | MapNode, ...]:
        """`nodes` in either form; empty for an upstream that is discovered."""
        return cast(tuple[NodeConf | MapNode, ...], self.nodes or ())

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.nodes is None:
            if self.service_name is None and self.discovery_type is None:
                raise Refused('needs "nodes", or "service_name" with "discovery_type"', ONE)
            if self.service_name is None or self.discovery_type is None:
                raise Refused('"service_name" and "discovery_type" need each other', ONE)
        elif self.service_name is not None or self.discovery_type is not None:
            raise Refused('only one of "nodes" and "service_name" with "discovery_type" is allowed', ONE_OF_BOTH)
        if self.pass_host == "rewrite" and not self.upstream_host:
            raise Refused('"upstream_host" can\'t be empty when "pass_host" is "rewrite"')
        if self.type == "chash":
            self._check_key()
        if self.slow_start is not None and self.type in ("chash", "ewma"):
            raise Refused(f'"slow_start" changes weights for a while, which "type": "{self.type}" can\'t use')
        return self

    def _check_key(self) -> None:
        if self.hash_on == "consumer":
            return
        if not self.key:
            sentence = f'missing "key": a chash upstream that hashes on {self.hash_on} needs it'
            raise Refused(sentence, "missing key", True)
        if self.hash_on == "vars" and not _VARIABLE.match(self.key):
            sentence = f'"key" {self.key!r} is not a variable that can be hashed on (uri, remote_addr, arg_x, ...)'
            raise Refused(sentence, _no_match(APISIX_VARIABLE, self.key), True)
        if self.hash_on in ("header", "cookie") and not _FIELD.match(self.key):
            sentence = f'"key" {self.key!r} is not the name of a {self.hash_on}'
            raise Refused(sentence, _no_match(APISIX_FIELD, self.key), True)
        if self.hash_on == "vars_combinations" and not _TEMPLATE.search(self.key):
            sentence = f'"key" {self.key!r} names no variable, as $remote_addr does'
            raise Refused(sentence, _no_match(_APISIX_TEMPLATE, self.key), True)
