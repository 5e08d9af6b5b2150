"""When a request is sent once more, and how often: an upstream's `retry_policy`. Our own; APISIX has only the numbers
`retries` and `retry_timeout`, which hold with it as well."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from bascule.model.attributes import Method, Methods, Model, Number, Seconds, Unique

Cause = Literal["connect", "timeout", "reset", "malformed"]
RetriedStatus = Annotated[int, Strict(), Field(ge=400, le=599)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]
NotNegative = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
CAUSES: tuple[Cause, ...] = ("connect", "timeout", "reset")
IDEMPOTENT: tuple[Method, ...] = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")
SAFE: tuple[Method, ...] = ("GET", "HEAD", "OPTIONS")


class RetryBudget(Model):
    """Retries may be `percent` of the requests of the last ten seconds, or `min_per_second`, whichever is more. Of each
    worker."""

    percent: Annotated[Number, Field(ge=0, le=100)] = 20
    min_per_second: NotNegative = 3


class Backoff(Model):
    """Seconds before the first retry, doubled before each further one up to `max`; `jitter` is the share of it that
    chance may take away."""

    base: Seconds = 0.025
    max: Seconds = 1
    jitter: Share = 0.5


class Hedge(Model):
    """A request without a response header after `delay` seconds goes to another node as well, up to `max` further
    ones, `delay` apart; the first answer counts. `methods`: those whose requests may be under way twice."""

    delay: Seconds
    max: Annotated[int, Strict(), Field(ge=1, le=8)] = 1
    methods: Methods = SAFE


class RetryPolicy(Model):
    """`methods`: those that may be sent again after some of the request went out."""

    on: Annotated[tuple[Cause | RetriedStatus, ...], Field(min_length=1), Unique] = CAUSES
    methods: Methods = IDEMPOTENT
    budget: RetryBudget = RetryBudget()
    backoff: Backoff | None = None
    per_try_timeout: Seconds | None = None
    hedge: Hedge | None = None
    retry_after_max: NotNegative | None = None  # None: Retry-After isn't looked at
