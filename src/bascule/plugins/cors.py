"""cors: tells browsers which other origins may use this API (the Fetch standard, section 3.3)."""

import re
from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from bascule.errors.sentences import Refused
from bascule.match.regex import compile_regex
from bascule.model.attributes import Unique
from bascule.plugin.host import Host
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response

Origins = Annotated[str, StringConstraints(pattern=r"^(\*|\*\*|null|\w+://[^,]+(,\w+://[^,]+)*)$")]
Names = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=4096)], ...], Field(min_length=1), Unique
]
_EVERY_METHOD = "GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS,CONNECT,TRACE"


class CorsConfig(Config):
    allow_origins: Origins = "*"
    allow_origins_by_regex: Names | None = None
    allow_origins_by_metadata: Names | None = None
    allow_methods: str = "*"
    allow_headers: str = "*"
    expose_headers: str | None = None
    max_age: int = 5
    allow_credential: bool = False
    timing_allow_origins: Origins | None = None
    timing_allow_origins_by_regex: Names | None = None

    @field_validator("allow_origins_by_regex", "timing_allow_origins_by_regex")
    @classmethod
    def regexes(cls, patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for pattern in patterns or ():
            compile_regex(pattern)
        return patterns

    @model_validator(mode="after")
    def no_wildcard_with_credentials(self) -> Self:
        """Browsers refuse that pair, for it would open every user's session to every site."""
        if self.allow_credential and "*" in (
            self.allow_origins,
            self.allow_methods,
            self.allow_headers,
            self.expose_headers,
        ):
            raise Refused("you can not set '*' for other option when 'allow_credential' is true")
        return self


class CorsMetadata(Config):
    allow_origins: dict[str, Origins] | None = None
    inactive_timeout: int | None = None  # means nothing; there are configurations for APISIX that have it


class OriginRule:
    """Which origins are let in. With regular expressions or names of metadata, a bare "*" says nothing."""

    def __init__(self, origins: str | None, regexes: Iterable[str] | None, names: Iterable[str] | None = None) -> None:
        self.regexes: tuple[re.Pattern[str], ...] = tuple(compile_regex(regex) for regex in regexes or ())
        self.names = tuple(names or ())
        # Regular expressions replace the list altogether.
        listed = None if self.regexes or (self.names and origins == "*") else origins
        self.anything = listed == "*"
        self.echo = listed == "**"
        self.listed = frozenset(listed.split(",")) if listed else frozenset()
        self.asks_origin = bool((listed and not self.anything) or self.regexes or self.names)

    def answer(self, origin: str | None, sets: dict[str, str]) -> str | None:
        """What Access-Control-Allow-Origin says to this origin; None: nothing."""
        if self.anything:
            return "*"
        if self.echo:
            return origin or "*"
        if origin is None:
            return None
        if origin in self.listed or any(regex.search(origin) for regex in self.regexes):
            return origin
        for name in self.names:
            named = sets.get(name)
            if named in ("*", "**") or (named and origin in named.split(",")):
                return origin
        return None


class Cors(Plugin):
    name = "cors"
    priority = 4000
    Config = CorsConfig
    Metadata = CorsMetadata
    conf: CorsConfig

    def __init__(self, conf: CorsConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.ctx_key = f"cors {host.holder}"
        self.allow = OriginRule(conf.allow_origins, conf.allow_origins_by_regex, conf.allow_origins_by_metadata)
        self.timing = OriginRule(conf.timing_allow_origins, conf.timing_allow_origins_by_regex)
        self.asks_origin = self.allow.asks_origin or self.timing.asks_origin
        self.echo_headers = conf.allow_headers == "**"
        self.fixed = [
            ("Access-Control-Allow-Methods", _EVERY_METHOD if conf.allow_methods == "**" else conf.allow_methods),
            ("Access-Control-Max-Age", str(conf.max_age)),
        ]
        if not self.echo_headers:
            self.fixed.append(("Access-Control-Allow-Headers", conf.allow_headers))
        if conf.allow_credential:
            self.fixed.append(("Access-Control-Allow-Credentials", "true"))
        if conf.expose_headers:
            self.fixed.append(("Access-Control-Expose-Headers", conf.expose_headers))

    def rewrite(self, request: Request) -> Response | None:
        # The client's own Origin: a later plugin may send another one upstream.
        request.ctx[self.ctx_key] = request.header("Origin")
        return Response(200) if request.method == "OPTIONS" else None

    def header_filter(self, request: Request, response: Response) -> None:
        # Absent when an earlier plugin answered before our rewrite ran.
        origin = request.ctx[self.ctx_key] if self.ctx_key in request.ctx else request.header("Origin")
        if self.asks_origin:
            response.add_header("Vary", "Origin")
        metadata = self.host.metadata() if self.allow.names else None
        allowed = self.allow.answer(origin, (metadata and metadata.allow_origins) or {})
        if allowed is not None:
            response.set_header("Access-Control-Allow-Origin", allowed)
            for name, value in self.fixed:
                response.set_header(name, value)
            wanted = request.header("Access-Control-Request-Headers") if self.echo_headers else None
            if wanted:
                response.set_header("Access-Control-Allow-Headers", wanted)
        timed = self.timing.answer(origin, {})
        if timed is not None:
            response.set_header("Timing-Allow-Origin", timed)
