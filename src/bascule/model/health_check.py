"""Health checks of an upstream's nodes. The control room probes, and counts (control/health)."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, Strict, model_validator

from bascule.errors.apisix_text import ANY
from bascule.errors.sentences import Refused
from bascule.model.attributes import Bool, Host, Model, Number, Port, Seconds, Str, Unique

HttpStatus = Annotated[int, Strict(), Field(ge=200, le=599)]
Statuses = Annotated[tuple[HttpStatus, ...], Field(min_length=1), Unique]
Count = Annotated[int, Strict(), Field(ge=1, le=254)]
CountOrOff = Annotated[int, Strict(), Field(ge=0, le=254)]
Interval = Annotated[int, Strict(), Field(ge=1)]
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*")


def _method(value: str) -> str:
    if not _METHOD.fullmatch(value):
        raise Refused(f"{value!r} is not a method of HTTP")
    return value


def _field(value: str) -> str:
    if not _FIELD.fullmatch(value):
        raise Refused(f'{value!r} is not a header field, as in "Name: value"')
    return value


HeaderField = Annotated[Str, AfterValidator(_field)]


class ActiveHealthy(Model):
    interval: Interval = 1
    http_statuses: Statuses = (200, 302)
    successes: Count = 2


class ActiveUnhealthy(Model):
    interval: Interval = 1
    http_statuses: Statuses = (429, 404, 500, 501, 502, 503, 504, 505)
    http_failures: Count = 5
    tcp_failures: Count = 2
    timeouts: Count = 3


class ActiveCheck(Model):
    """Probes that the gateway sends. `timeout` and the intervals are seconds."""

    type: Literal["http", "https", "tcp", "grpc"] = "http"  # grpc: our own
    timeout: Number = 1
    concurrency: Annotated[int, Strict(), Field(ge=1)] = 10
    host: Host | None = None
    port: Port | None = None
    http_method: Annotated[Str, AfterValidator(_method)] = "GET"
    http_path: Str = "/"
    http_req_body: Str = ""
    req_headers: Annotated[tuple[HeaderField, ...], Field(min_length=1), Unique] | None = None
    https_verify_certificate: Bool = True
    grpc_service: Str = ""  # our own: what the server is asked about; "": the server as a whole
    healthy: ActiveHealthy = ActiveHealthy()
    unhealthy: ActiveUnhealthy = ActiveUnhealthy()


class PassiveHealthy(Model):
    http_statuses: Statuses = (*range(200, 209), 226, *range(300, 309))
    successes: CountOrOff = 5


class PassiveUnhealthy(Model):
    http_statuses: Statuses = (429, 500, 503)
    tcp_failures: CountOrOff = 2
    timeouts: CountOrOff = 7
    http_failures: CountOrOff = 5
    # Our own: seconds after which a node gets requests again on trial, if no active check can find it healthy.
    retry_after: Seconds = 10


class PassiveCheck(Model):
    """Conclusions from the answers to real requests. A count of 0 switches it off."""

    type: Literal["http", "https", "tcp"] = "http"
    healthy: PassiveHealthy = PassiveHealthy()
    unhealthy: PassiveUnhealthy = PassiveUnhealthy()


class Checks(Model):
    """Passive checks may stand alone here (APISIX asks for active ones with them)."""

    active: ActiveCheck | None = None
    passive: PassiveCheck | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.active is None and self.passive is None:
            raise Refused('needs "active" or "passive"', f'{ANY}: ["active"] or ["active","passive"]')
        return self
