"""proxy-mirror: sends copies of requests to another host, whose answers go nowhere."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from bascule.errors.apisix_text import no_match
from bascule.errors.sentences import Refused
from bascule.model.admin_settings import Duration
from bascule.plugin.host import Host
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.quoting import encode_target
from bascule.plugin.request import Request

PORTS = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}
# As APISIX spells it, and as it is meant.
_HOST = r"^(http(s)?|grpc(s)?):\/\/([\da-zA-Z.-]+|\[[\da-fA-F:]+\])(:\d+)?$"
_HOST_PATTERN = re.compile(r"^(https?|grpcs?)://([0-9a-zA-Z.-]+|\[[0-9a-fA-F:]+\])(:[0-9]+)?\Z")
_PORT = re.compile(r":(\d+)$")


class ProxyMirrorConfig(Config):
    host: str = Field(json_schema_extra={"pattern": _HOST})
    path: str | None = Field(None, pattern=r"^/[^?&]+$")
    path_concat_mode: Literal["replace", "prefix"] = "replace"
    sample_ratio: float = Field(1, ge=0.00001, le=1)
    max_concurrent: int = Field(100, ge=1, le=100_000)
    max_body_size: int = Field(1 << 20, ge=0, le=64 << 20)

    @field_validator("host")
    @classmethod
    def an_address(cls, host: str) -> str:
        if _HOST_PATTERN.search(host) is None:
            example = f"http://{host}" if _HOST_PATTERN.search(f"http://{host}") else "http://10.0.0.5:8080"
            sentence = f'needs a scheme (http, https, grpc, grpcs), a host and no path, such as "{example}"'
            raise Refused(sentence, no_match(_HOST, host))
        port = _PORT.search(host)
        if port is not None and not 0 < int(port[1]) <= 65535:
            raise ValueError(f"{port[1]} is not a port")
        return host


Seconds = Annotated[Duration, Field(gt=0)]


class Timeouts(Config):
    connect: Seconds = 60.0
    read: Seconds = 60.0
    send: Seconds = 60.0


class ProxyMirrorAttr(Config):
    timeout: Timeouts = Timeouts()


class ProxyMirror(Plugin):
    name = "proxy-mirror"
    priority = 1010
    Config = ProxyMirrorConfig
    Attr = ProxyMirrorAttr
    conf: ProxyMirrorConfig

    def __init__(self, conf: ProxyMirrorConfig, host: Host) -> None:
        super().__init__(conf, host)
        scheme, _, authority = conf.host.partition("://")
        port = _PORT.search(authority)
        timeout = ProxyMirrorAttr.model_validate(dict(host.attr)).timeout
        self.mirror = host.mirror(
            scheme,
            _PORT.sub("", authority).strip("[]"),
            PORTS[scheme] if port is None else int(port[1]),
            timeouts_s=(timeout.connect, timeout.send, timeout.read),
            most=conf.max_concurrent,
            body_limit=conf.max_body_size,
            told=self.told,
        )
        family = host.metrics.counter(
            "bascule_mirrored_requests", "Copies of requests, by what became of them", ("holder", "result")
        )
        self.counts = {result: family.child((host.holder, result)) for result in ("answered", "failed", "busy", "body")}
        self.path = None if conf.path is None else encode_target(conf.path).decode()
        self.failing = False
        self.mark = f"proxy-mirror {id(self)}"

    def before_proxy(self, request: Request) -> None:
        """One copy of a request, however often it is tried."""
        if self.mark in request.ctx:
            return
        request.ctx[self.mark] = True
        if self.conf.sample_ratio >= 1 or self.host.random.random() < self.conf.sample_ratio:
            self.mirror.copy(request, self.target(request.upstream_target))

    def target(self, target: str) -> str:
        path = self.path
        if path is None:
            return target
        own, question, query = target.partition("?")
        if self.conf.path_concat_mode == "prefix":
            path += own
        return path + question + query

    def told(self, result: str, detail: str | None) -> None:
        self.counts[result].inc()
        if result == "failed" and not self.failing:
            self.failing = True
            self.host.log.warning("%s: copies to %s fail: %s", self.host.holder, self.conf.host, detail)
        elif result == "answered" and self.failing:
            self.failing = False
            self.host.log.warning("%s: copies to %s are answered again", self.host.holder, self.conf.host)
