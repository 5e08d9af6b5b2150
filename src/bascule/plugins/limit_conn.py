"""limit-conn: so many requests at a time. A few more than that are let in late, and the rest is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from bascule.errors.apisix_text import ONE, ONE_OF_BOTH
from bascule.errors.sentences import Refused
from bascule.plugin import Config, Host, Plugin, Request, Response
from bascule.plugin.kit.limits import Amount, InvalidLimit, KeyReader, Positive, number, rejection, resolve, rule_reader
from bascule.plugin.kit.redis import RedisConf, script_runner
from bascule.plugin.kit.template import Template

SHORTEST_S = 0.001  # a shorter delay isn't worth a timer
# While Redis doesn't answer: between two attempts to tell it what is over, and of how many requests that is kept.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
MOST_OWED = 10_000

# KEYS: a sorted set of the requests in flight, by when they are forgotten. ARGV: limit, this request, seconds until it
# is forgotten. Answers how many there are with this one, which isn't put in when it is too many.
ENTER_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local count = redis.call('ZCARD', KEYS[1]) + 1
if count <= tonumber(ARGV[1]) then
  redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return count
"""

# KEYS: the same. ARGV: the request that is over.
LEAVE_SCRIPT = "return redis.call('ZREM', KEYS[1], ARGV[1])"


class Rule(Config):
    conn: Positive
    burst: Amount
    key: str


class LimitConnConfig(RedisConf):
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["conn", "burst", "default_conn_delay", "key"]},
                {"required": ["default_conn_delay", "rules"]},
            ]
        }
    )

    conn: Positive | None = None
    burst: Amount | None = None
    default_conn_delay: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    only_use_default_delay: bool = False
    key: str | None = None
    key_type: Literal["var", "var_combination", "constant"] = "var"
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)] | None = None
    policy: Literal["local", "redis", "redis-cluster", "redis-sentinel"] = "local"
    key_ttl: Annotated[int, Field(ge=1)] = 3600
    rejected_code: Annotated[int, Field(ge=200, le=599)] = 503
    rejected_msg: Annotated[str, Field(min_length=1)] | None = None
    allow_degradation: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        wanted = ("default_conn_delay",) if self.rules else ("conn", "burst", "key", "default_conn_delay")
        missing = [f'"{name}"' for name in wanted if getattr(self, name) is None]
        if missing:
            instead = "" if self.rules else ' ("rules" may stand for "conn", "burst" and "key")'
            raise Refused(f"needs {' and '.join(missing)}{instead}", ONE)
        if self.rules and None not in (self.conn, self.burst, self.key):
            raise Refused('"conn", "burst" and "key" don\'t go together with "rules"', ONE_OF_BOTH)
        self.require_redis(self.policy)
        return self


class Limit:
    """One limit. `late_s`: how much later a request is let in for each `conn` that are in flight before it."""

    def __init__(
        self,
        prefix: str,
        read_key: Callable[[Request], str | None],
        conn: int | str,
        burst: int | str,
        late_s: float,
    ) -> None:
        self.prefix = prefix
        self.read_key = read_key  # None: the limit doesn't apply
        self._conn = number(conn)
        self._burst = number(burst, 0)
        self._late_s = late_s

    def numbers(self, request: Request) -> tuple[int, int]:
        """(conn, conn and burst together) for this request. Raises InvalidLimit."""
        conn = resolve(self._conn, "conn", request)
        return conn, conn + resolve(self._burst, "burst", request, 0)

    def delay_s(self, count: int, conn: int) -> float:
        """Of the request that makes them `count`."""
        return (count - 1) // conn * self._late_s if count > conn else 0.0

    def took(self, seconds: float) -> None:
        """A request is over: requests that come too soon wait for about as long as one takes."""
        self._late_s = (self._late_s + seconds) / 2


class Held:
    """What a request holds until it is over: (limit, key, its name in Redis or None) of each limit."""

    __slots__ = ("delay_s", "places")

    def __init__(self) -> None:
        self.places: list[tuple[Limit, str, str | None]] = []
        self.delay_s = 0.0

    def take(self, limit: Limit, key: str, name: str | None, delay_s: float) -> None:
        self.places.append((limit, key, name))
        self.delay_s = max(self.delay_s, delay_s)


class LimitConn(Plugin):
    name = "limit-conn"
    priority = 1003
    Config = LimitConnConfig
    encrypt_fields = ("redis_password", "sentinel_password")
    conf: LimitConnConfig

    def __init__(self, conf: LimitConnConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._limits = self._read_limits()
        self._slot = f"limit-conn {host.holder}"
        self._table = host.in_flight
        self._owed: dict[tuple[str, str], float] = {}  # (key, name) that Redis may count wrongly, until when it does
        self._paying = False
        if conf.policy == "local":
            return
        self._run = script_runner(conf, conf.policy, host)
        self.needs_task = True  # type: ignore[misc]
        self.access = self._access_redis  # type: ignore[method-assign]

    # --- the hooks

    def access(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """Limits that are decided on this machine."""
        request.ctx[self._slot] = held = Held()
        try:
            applying = self._applying(request)
        except InvalidLimit as error:
            return self._fail(error)
        for limit, key, conn, most in applying:
            count = self._table.enter(key, most)
            if count > most:
                return self._refuse(held)
            held.take(limit, key, None, limit.delay_s(count, conn))
        return self._wait(held.delay_s) if held.delay_s >= SHORTEST_S else None

    async def _access_redis(self, request: Request) -> Response | None:
        request.ctx[self._slot] = held = Held()
        try:
            for limit, key, conn, most in self._applying(request):
                name = f"{self.host.random.getrandbits(96):x}"
                count = await self._enter_redis(key, most, name)
                if count > most:
                    return self._refuse(held)
                held.take(limit, key, name, limit.delay_s(count, conn))
        except InvalidLimit as error:
            return self._fail(error)
        except Exception as error:  # whatever the client, the network or the script raise
            if not self.conf.allow_degradation:
                return self._fail(error)
            self.host.log.warning("failed to limit conn, the request passes: %s", error)
            return None
        if held.delay_s >= SHORTEST_S:
            await self.host.sleep(held.delay_s)
        return None

    def log(self, request: Request) -> None:
        """Every request that came to its end, however it did."""
        held = request.ctx.get(self._slot)
        if held is None or not held.places:
            return
        if not self.conf.only_use_default_delay:
            took_s = request.var("request_time")
            if isinstance(took_s, int | float):
                for limit, _, _ in held.places:
                    limit.took(max(0.0, took_s - held.delay_s))
        self._leave(held)

    # --- what it does

    def _applying(self, request: Request) -> list[tuple[Limit, str, int, int]]:
        """(limit, what the request is counted under, conn, conn and burst) of each. Raises InvalidLimit."""
        found = []
        for limit in self._limits:
            key = limit.read_key(request)
            if key is not None:
                found.append((limit, limit.prefix + key, *limit.numbers(request)))
        return found

    async def _wait(self, seconds: float) -> None:
        await self.host.sleep(seconds)

    async def _enter_redis(self, key: str, most: int, name: str) -> int:
        asked = asyncio.ensure_future(self._run(ENTER_SCRIPT, (key,), (most, name, self.conf.key_ttl)))
        try:
            return int(await asyncio.shield(asked))
        except asyncio.CancelledError:  # the client has gone meanwhile, and Redis may count it all the same
            self.host.spawn(self._take_back(asked, key, name), "limit-conn takes back")
            raise
        except Exception:  # a Redis that stood still does later what has reached it
            self._owe(key, name)
            raise

    async def _take_back(self, asked: asyncio.Future[Any], key: str, name: str) -> None:
        await asyncio.wait([asked])
        if not asked.cancelled():
            asked.exception()  # looked at, so that nobody complains
        await self._leave_redis(key, name)

    async def _leave_redis(self, key: str, name: str) -> None:
        try:
            await self._run(LEAVE_SCRIPT, (key,), (name,))
        except Exception as error:
            ttl_s = self.conf.key_ttl
            self.host.log.warning(
                "a request that is over is counted for up to %d s: no word to Redis: %s", ttl_s, error
            )
            self._owe(key, name)

    def _owe(self, key: str, name: str) -> None:
        """To be told to Redis once it answers, at the latest when it forgets by itself."""
        if len(self._owed) < MOST_OWED:
            self._owed[key, name] = self.host.monotonic() + self.conf.key_ttl
        if not self._paying:
            self._paying = True
            self.host.spawn(self._pay(), "limit-conn tells Redis what is over")

    async def _pay(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while self._owed:
                await self.host.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                for (key, name), until in list(self._owed.items()):
                    try:
                        if self.host.monotonic() < until:
                            await self._run(LEAVE_SCRIPT, (key,), (name,))
                    except Exception as error:
                        self.host.log.debug("Redis can't be told yet what is over: %s", error)
                        break
                    del self._owed[key, name]
        finally:
            self._paying = False

    def _leave(self, held: Held) -> None:
        for _, key, name in held.places:
            if name is None:
                self._table.leave(key)
            else:
                self.host.spawn(self._leave_redis(key, name), "limit-conn leaves")
        held.places.clear()

    def _refuse(self, held: Held) -> Response:
        self._leave(held)
        return rejection(self.conf)

    def _fail(self, reason: Exception) -> Response:
        self.host.log.error("failed to limit conn: %s", reason)
        return Response(500, {"error_msg": "failed to limit conn"})

    def _read_limits(self) -> tuple[Limit, ...]:
        conf = self.conf
        late_s = conf.default_conn_delay
        assert late_s is not None
        prefix = f"limit-conn/{self.host.holder}/"
        if conf.rules is None:
            assert conf.conn is not None
            assert conf.burst is not None
            assert conf.key is not None
            read = KeyReader(conf.key, conf.key_type, self.host.log).read
            # What is in flight stays counted over edits, unless something else is counted from then on.
            prefix += f"{conf.key_type}:{conf.key}/"
            return (Limit(prefix, read, conf.conn, conf.burst, late_s),)
        return tuple(
            Limit(f"{prefix}{n}:{rule.key}/", rule_reader(Template(rule.key)), rule.conn, rule.burst, late_s)
            for n, rule in enumerate(conf.rules, 1)
        )
