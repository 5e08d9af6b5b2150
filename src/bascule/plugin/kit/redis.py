"""Redis for plugins that share state between machines: a single server, a cluster, or sentinels."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import orjson
from pydantic import Field

from bascule.errors.sentences import Refused
from bascule.plugin.plugin import Config

if TYPE_CHECKING:
    from bascule.plugin.host import Host

Policy = Literal["redis", "redis-cluster", "redis-sentinel"]
RunScript = Callable[[str, Sequence[str], Sequence[int | float | str]], Awaitable[Any]]


class RedisMissing(RuntimeError):
    """The Python package isn't installed."""

    def __init__(self) -> None:
        super().__init__("Redis needs the package redis: pip install 'bascule[redis]'")


class Sentinel(Config):
    host: Annotated[str, Field(min_length=2)]
    port: Annotated[int, Field(ge=1, le=65535)]


class RedisConf(Config):
    """The attributes of all three policies; derive a Config from it and call `require_redis` in a validator."""

    redis_host: Annotated[str, Field(min_length=2)] | None = None
    redis_port: Annotated[int, Field(ge=1)] = 6379
    redis_username: Annotated[str, Field(min_length=1)] | None = None
    redis_password: str | None = None
    redis_database: Annotated[int, Field(ge=0)] = 0
    redis_timeout: Annotated[int, Field(ge=1)] = 1000  # ms
    redis_ssl: bool = False
    redis_ssl_verify: bool = False
    redis_keepalive_timeout: Annotated[int, Field(ge=1)] = 10000  # ms
    redis_keepalive_pool: Annotated[int, Field(ge=1)] = 100
    redis_cluster_nodes: (
        Annotated[list[Annotated[str, Field(min_length=2, max_length=100)]], Field(min_length=1)] | None
    ) = None
    redis_cluster_name: str | None = None
    redis_cluster_ssl: bool = False
    redis_cluster_ssl_verify: bool = False
    redis_sentinels: Annotated[list[Sentinel], Field(min_length=1)] | None = None
    redis_master_name: Annotated[str, Field(min_length=1)] | None = None
    redis_role: Literal["master", "slave"] = "master"
    redis_connect_timeout: Annotated[int, Field(ge=1)] = 1000  # ms
    redis_read_timeout: Annotated[int, Field(ge=1)] = 1000  # ms
    sentinel_username: Annotated[str, Field(min_length=1)] | None = None
    sentinel_password: str | None = None

    def require_redis(self, policy: str) -> None:
        """Refused when an attribute that the policy needs is missing. Other policies ("local") need none."""
        for name in _REQUIRED.get(policy, ()):
            if getattr(self, name) is None:
                clause = "then" if policy == "redis" else "else"
                raise Refused(f'"{name}" is required when policy is "{policy}"', f"{clause} clause did not match")
        for node in self.redis_cluster_nodes or () if policy == "redis-cluster" else ():
            host, _, port = node.rpartition(":")
            if not host or not port.isdigit():
                raise Refused(f'"redis_cluster_nodes": {node!r} must be host:port')


_REQUIRED = {
    "redis": ("redis_host",),
    "redis-cluster": ("redis_cluster_nodes", "redis_cluster_name"),
    "redis-sentinel": ("redis_sentinels", "redis_master_name"),
}


class RedisClient(Protocol):
    """What plugins use of redis-py's asyncio clients."""

    def get(self, name: str) -> Awaitable[Any]: ...
    def incrby(self, name: str, amount: int) -> Awaitable[Any]: ...
    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...
    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...
    def script_load(self, script: str) -> Awaitable[Any]: ...
    def aclose(self) -> Awaitable[None]: ...


def redis_client(conf: RedisConf, policy: str, host: Host) -> RedisClient:
    """The client for these settings: one per worker and settings, kept over reloads, with a connection pool that waits
    for a free connection at most as long as for an answer. Needs `needs_task`. RedisMissing without the package."""
    module = _package()
    key = "redis " + orjson.dumps([policy, _settings(conf, policy)]).decode()
    client: RedisClient = host.state(key, lambda: _make(module, conf, policy))
    return client


def script_runner(conf: RedisConf, policy: str, host: Host) -> RunScript:
    """Runs Lua scripts by their digest: `await run(script, keys, arguments)`; a server that doesn't know one learns it.
    Raises what redis-py raises. All keys must be in one slot of a cluster: give them a {hash tag}."""
    client = redis_client(conf, policy, host)
    exceptions = importlib.import_module("redis.exceptions")
    digests: dict[str, str] = {}

    async def run(script: str, keys: Sequence[str], arguments: Sequence[int | float | str]) -> Any:
        digest = digests.get(script)
        if digest is not None:
            try:
                return await client.evalsha(digest, len(keys), *keys, *arguments)
            except exceptions.NoScriptError:
                pass  # the server was restarted
        answer = await client.eval(script, len(keys), *keys, *arguments)
        digests[script] = _sha1(script)
        return answer

    return run


def _sha1(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _package() -> Any:
    # At run time and not above: the package is an extra.
    try:
        return importlib.import_module("redis.asyncio")
    except ImportError:
        raise RedisMissing from None


def _settings(conf: RedisConf, policy: str) -> dict[str, Any]:
    names = [name for name in RedisConf.model_fields if name.startswith(("redis_", "sentinel_"))]
    return {name: getattr(conf, name) for name in names if name != "redis_sentinels"} | {
        "sentinels": [(one.host, one.port) for one in conf.redis_sentinels or ()]
    }


def _make(module: Any, conf: RedisConf, policy: str) -> Any:
    account: dict[str, Any] = {"username": conf.redis_username, "password": conf.redis_password or None}
    timeout_s = conf.redis_timeout / 1000
    if policy == "redis":
        options: dict[str, Any] = {
            **account,
            "host": conf.redis_host,
            "port": conf.redis_port,
            "db": conf.redis_database,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "max_connections": conf.redis_keepalive_pool,
            "timeout": timeout_s,
        }
        if conf.redis_ssl:
            options["connection_class"] = module.SSLConnection
            options |= _tls(conf.redis_ssl_verify)
        return module.Redis.from_pool(module.BlockingConnectionPool(**options))
    if policy == "redis-cluster":
        nodes = [node.rpartition(":") for node in conf.redis_cluster_nodes or ()]
        options = {
            **account,
            "startup_nodes": [module.cluster.ClusterNode(name, int(port)) for name, _, port in nodes],
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "max_connections": conf.redis_keepalive_pool,
        }
        if conf.redis_cluster_ssl:
            options |= {"ssl": True, **_tls(conf.redis_cluster_ssl_verify)}
        return module.RedisCluster(**options)
    if policy != "redis-sentinel":
        raise ValueError(f"no Redis policy: {policy!r}")
    times = {
        "socket_timeout": conf.redis_read_timeout / 1000,
        "socket_connect_timeout": conf.redis_connect_timeout / 1000,
    }
    sentinel = module.Sentinel(
        [(one.host, one.port) for one in conf.redis_sentinels or ()],
        sentinel_kwargs={
            **times,
            "username": conf.sentinel_username,
            "password": conf.sentinel_password or None,
        },
        **times,
        **account,
        db=conf.redis_database,
    )
    find = sentinel.master_for if conf.redis_role == "master" else sentinel.slave_for
    return find(conf.redis_master_name)


def _tls(is_verified: bool) -> dict[str, Any]:
    return {
        "ssl_cert_reqs": "required" if is_verified else "none",
        "ssl_check_hostname": is_verified,
    }
