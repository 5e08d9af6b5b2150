"""Nodes that fail are left out for a while: an upstream's `outlier_detection` and `breaker`. Our own."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, Strict, model_validator

from bascule.errors.sentences import Refused
from bascule.model.attributes import Model, Number, Seconds, Unique

Count = Annotated[int, Strict(), Field(ge=1)]
CountOrOff = Annotated[int, Strict(), Field(ge=0)]
Percent = Annotated[Number, Field(gt=0, le=100)]
ErrorStatus = Annotated[int, Strict(), Field(ge=400, le=599)]
ErrorStatuses = Annotated[tuple[ErrorStatus, ...], Field(min_length=1), Unique]


class ErrorRate(Model):
    """`percent` of the requests within `window` seconds, once there were `min_requests`."""

    percent: Percent = 50
    min_requests: Count = 20
    window: Seconds = 10


class Latency(Model):
    """A node is slow when its `percentile` of the waits for an answer within `window` seconds is over `factor` times
    the median of the other nodes', and over that by `margin` seconds. Nodes that had fewer requests than `min_requests`
    say nothing."""

    factor: Annotated[Number, Field(gt=1)] = 3
    percentile: Annotated[Number, Field(gt=0, lt=100)] = 50
    min_requests: Count = 20
    window: Seconds = 10
    margin: Annotated[Number, Field(ge=0)] = 0.05


class Stalled(Model):
    """A node that nothing has been heard of for `after` seconds, while at least `requests` requests waited for it to
    begin its answer. Until it does it gets no further ones, as long as another node isn't stalled."""

    requests: Count = 3
    after: Seconds = 0.5


class OutlierDetection(Model):
    """Failures in a row that eject a node, 0: never. Times in seconds."""

    consecutive_connect_failures: CountOrOff = 1
    consecutive_gateway_errors: CountOrOff = 5
    consecutive_5xx: CountOrOff = 5
    error_rate: ErrorRate | None = None
    latency: Latency | None = None
    stalled: Stalled | None = None
    base_ejection_time: Seconds = 10
    max_ejection_time: Seconds = 300
    max_ejected_percent: Percent = 50

    @model_validator(mode="after")
    def _times(self) -> Self:
        if self.max_ejection_time < self.base_ejection_time:
            raise Refused('"max_ejection_time" is shorter than "base_ejection_time"')
        return self


class NodeBreaker(Model):
    """Opens after `failures` within `window` seconds, or by its `error_rate`; `open` seconds later one request at a
    time probes, and `successes` of them in a row close it."""

    failures: Count = 5
    window: Seconds = 10
    error_rate: ErrorRate | None = None
    statuses: ErrorStatuses = (500, 502, 503, 504)
    open: Seconds = 10
    max_open: Seconds = 300
    successes: Count = 1

    @model_validator(mode="after")
    def _times(self) -> Self:
        if self.max_open < self.open:
            raise Refused('"max_open" is shorter than "open"')
        return self


# Of an upstream that says nothing: only nodes that can't be connected to, as nginx does by default.
BY_DEFAULT = OutlierDetection(
    consecutive_gateway_errors=0, consecutive_5xx=0, max_ejection_time=60, max_ejected_percent=100
)
