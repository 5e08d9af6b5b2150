"""limit-count: so many requests per time window."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Annotated, Any, Literal, NamedTuple, Self

import orjson
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from bascule.errors.apisix_text import ONE, ONE_OF_BOTH
from bascule.errors.sentences import Refused
from bascule.plugin import Config, Host, Plugin, Request, Response, check_field
from bascule.plugin.kit.limits import InvalidLimit, KeyReader, Positive, number, rejection, resolve, rule_reader
from bascule.plugin.kit.quota import DelayedQuota, FixedQuota, RedisFixedQuota, RedisSlidingQuota, SlidingQuota, Taken
from bascule.plugin.kit.redis import RedisConf, script_runner
from bascule.plugin.kit.template import Template


def _name(value: str) -> str:
    check_field(value)
    return value


HeaderName = Annotated[str, AfterValidator(_name)]


class Rule(Config):
    count: Positive
    time_window: Positive
    key: str
    header_prefix: HeaderName | None = None


class LimitCountConfig(RedisConf):
    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["count", "time_window"]}, {"required": ["rules"]}]}
    )

    count: Positive | None = None
    time_window: Positive | None = None
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)] | None = None
    window_type: Literal["fixed", "sliding"] = "fixed"
    key: str = "remote_addr"
    key_type: Literal["var", "var_combination", "constant"] = "var"
    group: str | None = None
    policy: Literal["local", "redis", "redis-cluster", "redis-sentinel"] = "local"
    rejected_code: Annotated[int, Field(ge=200, le=599)] = 503
    rejected_msg: Annotated[str, Field(min_length=1)] | None = None
    show_limit_quota_header: bool = True
    allow_degradation: bool = False
    sync_interval: float = -1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rules is None and (self.count is None or self.time_window is None):
            raise Refused('either "count" and "time_window" or "rules" is required', ONE)
        if self.rules is not None and (self.count is not None or self.time_window is not None):
            raise Refused('"count" and "time_window" don\'t go together with "rules"', ONE_OF_BOTH)
        if self.sync_interval != -1 and self.sync_interval < 0.1:
            raise ValueError('"sync_interval" is at least 0.1 s, or -1 for none')
        if isinstance(self.time_window, int) and self.sync_interval >= self.time_window:
            raise ValueError('"sync_interval" must be shorter than "time_window"')
        self.require_redis(self.policy)
        return self


class LimitCountMetadata(Config):
    limit_header: HeaderName = "X-RateLimit-Limit"
    remaining_header: HeaderName = "X-RateLimit-Remaining"
    reset_header: HeaderName = "X-RateLimit-Reset"


class Limit(NamedTuple):
    """One limit: which counter a request belongs to, and how much that allows."""

    prefix: str
    read_key: Callable[[Request], str | None]  # None: the limit doesn't apply
    allowed: int | Template
    window_s: int | Template
    names: tuple[str, str, str] | None  # headers; None: those of the metadata


class LimitCount(Plugin):
    name = "limit-count"
    priority = 1002
    version = 0.5
    Config = LimitCountConfig
    Metadata = LimitCountMetadata
    encrypt_fields = ("redis_password", "sentinel_password")

    conf: LimitCountConfig

    def __init__(self, conf: LimitCountConfig, host: Host) -> None:
        super().__init__(conf, host)
        # An edit of the limit starts its counters anew; one elsewhere in the resource leaves them alone.
        scope = host.holder if conf.group is None else f"group/{conf.group}"
        self._limits = self._read_limits(f"limit-count/{scope}/{_version(conf)}/")
        self._slot = f"limit-count {host.holder}"
        self._is_plain = False
        self._delayed: DelayedQuota | None = None
        sliding = conf.window_type == "sliding"
        if conf.policy == "local":
            self._quota: FixedQuota | SlidingQuota | DelayedQuota
            self._quota = SlidingQuota(host.counters, host.now) if sliding else FixedQuota(host.counters)
            self._use_plain_hooks()
            return
        run = script_runner(conf, conf.policy, host)
        if conf.sync_interval > 0:
            self._delayed = self._quota = DelayedQuota(host, run, conf.sync_interval, sliding)
            return
        self._redis = RedisSlidingQuota(run, host.now) if sliding else RedisFixedQuota(run)
        self.needs_task = True  # type: ignore[misc]
        self.access = self._access_redis  # type: ignore[method-assign]

    def group(self) -> str | None:
        return self.conf.group

    def hooks(self) -> tuple[str, ...]:
        # The common case sets its headers ahead.
        later = self.conf.show_limit_quota_header and not self._is_plain
        return ("access", "header_filter") if later else ("access",)

    def close(self) -> None:
        if self._delayed is not None:
            self._delayed.close()

    # --- the hooks

    def access(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """Limits that are decided on this machine."""
        for limit in self._limits:
            key = limit.read_key(request)
            if key is None:
                continue
            try:
                count, window_s = (
                    resolve(limit.allowed, "count", request),
                    resolve(limit.window_s, "time_window", request),
                )
            except InvalidLimit as error:
                return self._fail(str(error))
            key = _full_key(limit, key, window_s)
            answer = self._decide(request, limit, key, count, self._quota.take(key, 1, count, window_s))
            if answer is not None:
                return answer
        return None

    async def _access_redis(self, request: Request) -> Response | None:
        for limit in self._limits:
            key = limit.read_key(request)
            if key is None:
                continue
            try:
                count, window_s = (
                    resolve(limit.allowed, "count", request),
                    resolve(limit.window_s, "time_window", request),
                )
            except InvalidLimit as error:
                return self._fail(str(error))
            key = _full_key(limit, key, window_s)
            try:
                taken = await self._redis.take(key, 1, count, window_s)
            except Exception as error:  # whatever the client, the network or the script raise
                if self.conf.allow_degradation:
                    self.host.log.warning("failed to limit count, the request passes: %s", error)
                    return None
                return self._fail(str(error))
            answer = self._decide(request, limit, key, count, taken)
            if answer is not None:
                return answer
        return None

    def header_filter(self, request: Request, response: Response) -> None:
        for limit, _, count, remaining, reset_s in request.ctx.get(self._slot, ()):
            names = limit.names or self._metadata_names()
            response.set_header(names[0], count)
            response.set_header(names[1], max(0, remaining))
            response.set_header(names[2], int(reset_s + 0.999))

    def _decide(self, request: Request, limit: Limit, key: str, count: int, taken: Taken) -> Response | None:
        remaining, reset_s = taken
        ctx = request.ctx
        info = (limit, key, count, remaining, reset_s)
        request.rate_limit = info[1:]
        if limit.names is None:
            ctx[self._slot] = (info,)
        else:
            ctx.setdefault(self._slot, []).append(info)
        return None if remaining >= 0 else rejection(self.conf)

    # --- the common case: one limit with fixed numbers in a fixed window on this machine

    def _use_plain_hooks(self) -> None:
        limit = self._limits[0]
        if self.conf.rules is not None or not isinstance(self._quota, FixedQuota):
            return
        if isinstance(limit.allowed, int) and isinstance(limit.window_s, int):
            self._take = self.host.counters.window(limit.prefix, float(limit.window_s)).take
            self._read_key, self._prefix, self._count = limit.read_key, limit.prefix, limit.allowed
            self._by_address = self.conf.key_type == "var" and self.conf.key == "remote_addr"
            self._tells = self.conf.show_limit_quota_header
            self._read_metadata = self.host.metadata
            self._named_by: Any = self  # the metadata that the header names were read from; not yet
            self.access = self._access_plain  # type: ignore[method-assign]
            self._is_plain = True

    def _access_plain(self, request: Request) -> Response | None:
        key = request.remote_addr if self._by_address else self._read_key(request)
        used, reset_s = self._take(key)  # type: ignore[arg-type]
        remaining = self._count - used
        request.rate_limit = (self._prefix, key), self._count, remaining, reset_s  # type: ignore[assignment]
        if self._tells:
            metadata = self._read_metadata()
            if metadata is not self._named_by:
                limit_name, self._remaining_name, self._reset_name = self._metadata_names()
                self._limit_header = (limit_name, b"%d" % self._count)
                self._named_by = metadata
            request.set_response_headers(
                (
                    self._limit_header,
                    (self._remaining_name, remaining if remaining > 0 else b"0"),
                    (self._reset_name, int(reset_s + 0.999)),
                )
            )
        return None if remaining >= 0 else rejection(self.conf)

    # --- answers

    def _fail(self, reason: str) -> Response:
        self.host.log.error("failed to limit count: %s", reason)
        return Response(500, {"error_msg": "failed to limit count"})

    def _metadata_names(self) -> tuple[str, str, str]:
        metadata = self.host.metadata()
        if metadata is None:
            return ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
        return metadata.limit_header, metadata.remaining_header, metadata.reset_header

    # --- the conf, read

    def _read_limits(self, prefix: str) -> tuple[Limit, ...]:
        conf = self.conf
        if conf.rules is None:
            assert conf.count is not None
            assert conf.time_window is not None
            key = KeyReader(conf.key, conf.key_type, self.host.log).read
            return (Limit(prefix, key, number(conf.count), number(conf.time_window), None),)
        limits = []
        for n, rule in enumerate(conf.rules, 1):
            stem = f"X-{rule.header_prefix or n}-RateLimit-"
            names = (f"{stem}Limit", f"{stem}Remaining", f"{stem}Reset")
            read_key = rule_reader(Template(rule.key))
            limits.append(Limit(f"{prefix}{n}/", read_key, number(rule.count), number(rule.time_window), names))
        return tuple(limits)


def _version(conf: LimitCountConfig) -> str:
    """A short digest of all that says what is counted."""
    irrelevant = {"rejected_code", "rejected_msg", "show_limit_quota_header", "allow_degradation", "group"}
    dumped = orjson.dumps(conf.model_dump(exclude=irrelevant), option=orjson.OPT_SORT_KEYS)
    return blake2b(dumped, digest_size=8).hexdigest()


def _full_key(limit: Limit, key: str, window_s: int) -> str:
    """Windows of different lengths are different counters; the count may change within one."""
    return f"{limit.prefix}{key}" if isinstance(limit.window_s, int) else f"{limit.prefix}{window_s}/{key}"
