"""api-breaker: an upstream that keeps failing is left alone for 2, 4, 8… seconds; meanwhile clients get a fixed answer.

The state is shared by all workers and kept per host and path, in three shared counters:

    open      there while requests are answered here; its window ends by itself
    failures  those since the last recovery in its lower 20 bits, the number of recoveries above them
    good      successes since one value of `failures`: a failure or a recovery begins a new counter of it

So whoever brings a count to its limit, and nobody else, opens or closes the breaker.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from bascule.model.attributes import Unique
from bascule.plugin import Config, Host, Plugin, Request, Response
from bascule.plugin.kit.header_edits import HeaderEdits, check_headers

ONE_RECOVERY = 1 << 20
MOST_RECOVERIES = 1 << 15  # then they are counted from 0 again: a shared counter holds less than 2**36
REMEMBERED_S = 3600.0
MOST_DOUBLINGS = 32


class ResponseHeader(Config):
    key: Annotated[str, Field(min_length=1)]
    value: Annotated[str, Field(min_length=1)]


class Healthy(Config):
    http_statuses: Annotated[tuple[Annotated[int, Field(ge=200, le=499)], ...], Field(min_length=1), Unique] = (200,)
    successes: int = Field(3, ge=1)


class Unhealthy(Config):
    http_statuses: Annotated[tuple[Annotated[int, Field(ge=500, le=599)], ...], Field(min_length=1), Unique] = (500,)
    failures: int = Field(3, ge=1)


class ApiBreakerConfig(Config):
    break_response_code: int = Field(ge=200, le=599)
    break_response_body: str | None = None
    break_response_headers: tuple[ResponseHeader, ...] | None = None
    max_breaker_sec: int = Field(300, ge=3)
    unhealthy: Unhealthy = Unhealthy()
    healthy: Healthy = Healthy()

    @field_validator("break_response_headers")
    @classmethod
    def can_be_sent(cls, headers: tuple[ResponseHeader, ...] | None) -> tuple[ResponseHeader, ...] | None:
        check_headers((header.key, header.value) for header in headers or ())
        return headers


class ApiBreaker(Plugin):
    name = "api-breaker"
    priority = 1005
    version = 0.1
    Config = ApiBreakerConfig
    conf: ApiBreakerConfig

    def __init__(self, conf: ApiBreakerConfig, host: Host) -> None:
        super().__init__(conf, host)
        headers = conf.break_response_headers or ()
        # A message has one Content-Type: the last one counts.
        typed = [(h.key, [h.value]) for h in headers if h.key.lower() == "content-type"]
        self._headers = HeaderEdits(
            add=[(h.key, [h.value]) for h in headers if h.key.lower() != "content-type"], set=typed
        )
        self._prefix = f"api-breaker/{host.holder}/"
        self._counters = host.counters
        self._good = frozenset(conf.healthy.http_statuses)
        self._bad = frozenset(conf.unhealthy.http_statuses)
        openings = host.metrics.counter("bascule_api_breaker_openings", "How often api-breaker opened", ("holder",))
        self._openings = openings.child((host.holder,))

    def access(self, request: Request) -> Response | None:
        if not self._counters.get(f"{self._key(request)}#open"):
            return None
        response = Response(self.conf.break_response_code, self.conf.break_response_body)
        self._headers.apply(response, request)
        return response

    def log(self, request: Request) -> None:
        status = _upstream_status(request)
        if status in self._bad:
            self._failed(self._key(request))
        elif status in self._good:
            self._succeeded(self._key(request))

    def _failed(self, key: str) -> None:
        if self._counters.get(f"{key}#open"):
            return  # it went out before the breaker opened, and its failure says nothing new
        failures = self._counters.add(f"{key}#failures", 1) % ONE_RECOVERY
        opened, rest = divmod(failures, self.conf.unhealthy.failures)
        if rest or not opened:
            return
        seconds = min(1 << min(opened, MOST_DOUBLINGS), self.conf.max_breaker_sec)
        self._counters.incr(f"{key}#open", 1, seconds)
        self._openings.inc()
        self.host.log.warning("%s: open for %d s after %d failures", key, seconds, failures)

    def _succeeded(self, key: str) -> None:
        value = self._counters.get(f"{key}#failures")
        failures = value % ONE_RECOVERY
        if not failures:
            return
        good, _ = self._counters.incr(f"{key}#good/{value}", 1, REMEMBERED_S)
        if good % self.conf.healthy.successes:
            return
        # A failure that is counted at this very moment stays: what is taken away are those known here.
        over = value // ONE_RECOVERY >= MOST_RECOVERIES
        self._counters.add(f"{key}#failures", -value if over else ONE_RECOVERY - failures)
        if failures >= self.conf.unhealthy.failures:
            self.host.log.warning("%s: closed after %d successes", key, self.conf.healthy.successes)

    def _key(self, request: Request) -> str:
        return f"{self._prefix}{request.host}{request.path}"


def _upstream_status(request: Request) -> int | None:
    """Of the last try; None: no upstream was asked."""
    value = request.var("upstream_status")
    if isinstance(value, str):
        last = value.rpartition(", ")[2]
        return int(last) if last.isdecimal() else None
    return value if isinstance(value, int) else None
