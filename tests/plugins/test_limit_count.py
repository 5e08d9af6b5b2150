import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from bascule.engine.shared_counters import SharedCounters
from bascule.plugin.kit.testing import MemoryHost, Result, Upstream, get, make, run, run_async
from bascule.plugins.limit_count import LimitCount
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import RawUpstream
from tests.servers.redis import RedisServer
from tests.servers.redis_groups import RedisCluster, RedisSentinel

TWO = {"count": 2, "time_window": 60}


def statuses(plugin: Any, *requests: Any) -> list[int]:
    return [run(plugin, request).status for request in requests]


def quota(result: Result) -> tuple[str | None, str | None, str | None]:
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    return (result.header(names[0]), result.header(names[1]), result.header(names[2]))


def test_counts_down_and_rejects() -> None:
    plugin = make(LimitCount, TWO)
    results = [run(plugin, get("/")) for _ in range(4)]
    assert [result.status for result in results] == [200, 200, 503, 503]
    assert [quota(result) for result in results] == [
        ("2", "1", "60"),
        ("2", "0", "60"),
        ("2", "0", "60"),
        ("2", "0", "60"),
    ]
    assert results[2].body == b""


def test_window_starts_at_first_use_and_ends() -> None:
    host = MemoryHost()
    plugin = make(LimitCount, TWO, host)
    host.advance(1000)
    assert statuses(plugin, get("/"), get("/"), get("/")) == [200, 200, 503]
    host.advance(20.5)
    assert quota(run(plugin, get("/"))) == ("2", "0", "40")
    host.advance(39.5)
    assert quota(run(plugin, get("/"))) == ("2", "1", "60")


def test_shared_counters_are_used() -> None:
    """Two workers: two instances over one table."""
    counters = SharedCounters.create(1 << 16)
    plugins = [make(LimitCount, {"count": 5, "time_window": 60}, counters=counters) for _ in range(2)]
    assert [run(plugins[n % 2], get("/")).status for n in range(7)] == [200] * 5 + [503] * 2


def test_rejection() -> None:
    plugin = make(LimitCount, {"count": 1, "time_window": 9, "rejected_code": 429, "rejected_msg": "slow down"})
    run(plugin, get("/"))
    result = run(plugin, get("/"))
    assert result.status == 429
    assert result.json() == {"error_msg": "slow down"}
    assert quota(result) == ("1", "0", "9")


def test_no_headers() -> None:
    conf = {**TWO, "show_limit_quota_header": False}
    assert quota(run(LimitCount, conf, get("/"))) == (None, None, None)


def test_header_names_of_the_metadata() -> None:
    metadata = {"limit_header": "X-A", "remaining_header": "X-B", "reset_header": "X-C"}
    result = run(LimitCount, TWO, get("/"), metadata=metadata)
    assert (result.header("x-a"), result.header("x-b"), result.header("x-c")) == ("2", "1", "60")
    assert quota(result) == (None, None, None)


def test_upstream_headers_of_the_same_name_are_replaced() -> None:
    result = run(LimitCount, TWO, get("/"), upstream=Upstream(headers={"x-ratelimit-limit": "999"}))
    assert result.header_values("X-RateLimit-Limit") == ["2"]


@pytest.mark.parametrize(
    ("conf", "first", "second"),  # the second request shares the first one's counter or not
    [
        ({"key": "http_a"}, get("/", headers={"a": "1"}), get("/", headers={"a": "2"})),
        ({"key": "arg_n"}, get("/?n=1"), get("/?n=2")),
        ({"key": "remote_addr"}, get("/"), get("/", remote_addr="10.0.0.9")),
        ({"key": "server_port"}, get("/"), None),
        ({"key": "$http_a $http_b", "key_type": "var_combination"}, get("/", headers={"a": "1"}), get("/")),
        ({"key": "all", "key_type": "constant"}, get("/?n=1"), None),
    ],
)
def test_keys(conf: dict[str, str], first: Any, second: Any) -> None:
    plugin = make(LimitCount, {"count": 1, "time_window": 60, **conf})
    assert statuses(plugin, first, first) == [200, 503]
    if second is None:
        assert run(plugin, get("/other", remote_addr="9.9.9.9")).status == 503
    else:
        assert statuses(plugin, second, second) == [200, 503]


@pytest.mark.parametrize(
    "key",
    [
        {"key": "http_a"},
        {"key": "$http_a $http_b", "key_type": "var_combination"},
        {"key": "abcdefgh", "key_type": "var_combination"},
    ],
)
def test_missing_key_is_the_address(key: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    plugin = make(LimitCount, {**TWO, **key})
    assert statuses(plugin, *[get("/")] * 4) == [200, 200, 503, 503]
    assert run(plugin, get("/", remote_addr="10.0.0.9")).status == 200
    assert len([record for record in caplog.records if "is empty" in record.message]) == 1


def test_holders_and_edits() -> None:
    host = MemoryHost(holder="routes/1")
    assert statuses(make(LimitCount, TWO, host), *[get("/")] * 3) == [200, 200, 503]
    # The same limit again, with another answer: still the same counter. Another limit, or route: a new one.
    assert run(make(LimitCount, {**TWO, "rejected_code": 429}, host), get("/")).status == 429
    assert run(make(LimitCount, {"count": 2, "time_window": 61}, host), get("/")).status == 200
    host.holder = "routes/2"
    assert run(make(LimitCount, TWO, host), get("/")).status == 200


def test_group_shares_counters() -> None:
    counters = SharedCounters.create(1 << 16)
    grouped = {**TWO, "group": "g"}
    one = make(LimitCount, grouped, holder="routes/1", counters=counters)
    other = make(LimitCount, grouped, holder="routes/2", counters=counters)
    assert [run(plugin, get("/")).status for plugin in (one, other, one, other)] == [200, 200, 503, 503]


def test_count_from_a_variable() -> None:
    plugin = make(LimitCount, {"count": "${http_count ?? 2}", "time_window": 10})
    results = [run(plugin, get("/", headers={"count": count})) for count in ("3", "2", "5")]
    assert [quota(result)[:2] for result in results] == [("3", "2"), ("2", "0"), ("5", "2")]
    # A refused request isn't counted, so that a larger count lets as many through as it says.
    assert statuses(plugin, *[get("/")] * 3) == [503] * 3
    assert run(plugin, get("/", headers={"count": "5"})).status == 200


def test_numbers_may_be_text() -> None:
    assert quota(run(LimitCount, {"count": "3", "time_window": "7"}, get("/"))) == ("3", "2", "7")


def test_window_from_a_variable() -> None:
    plugin = make(LimitCount, {"count": 1, "time_window": "${http_window ?? 5}"})
    assert quota(run(plugin, get("/"))) == ("1", "0", "5")
    assert run(plugin, get("/")).status == 503
    assert quota(run(plugin, get("/", headers={"window": "7"}))) == ("1", "0", "7")


@pytest.mark.parametrize("attribute", ["count", "time_window"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "9999999999999999", "many", "nan", "inf", "1e400"])
@pytest.mark.parametrize("more", [{}, {"allow_degradation": True}])
def test_unusable_variables_are_refused(attribute: str, value: str, more: dict[str, bool]) -> None:
    conf = {**TWO, attribute: "${http_n ?? 2}", **more}
    result = run(LimitCount, conf, get("/", headers={"n": value}))
    assert result.status == 500
    assert result.json() == {"error_msg": "failed to limit count"}


def test_rules() -> None:
    plugin = make(
        LimitCount,
        {
            "rejected_code": 429,
            "rules": [
                {"key": "${http_user}", "count": 3, "time_window": 60, "header_prefix": "User"},
                {"key": "${http_project}", "count": "${http_n ?? 2}", "time_window": 30},
            ],
        },
    )
    result = run(plugin, get("/", headers={"user": "a", "project": "p"}))
    assert (result.header("X-User-RateLimit-Limit"), result.header("X-User-RateLimit-Remaining")) == ("3", "2")
    assert (result.header("X-2-RateLimit-Limit"), result.header("X-2-RateLimit-Reset")) == ("2", "30")
    assert quota(result) == (None, None, None)
    assert run(plugin, get("/", headers={"user": "b", "project": "p"})).status == 200
    assert run(plugin, get("/", headers={"user": "c", "project": "p"})).status == 429
    assert run(plugin, get("/", headers={"user": "a"})).status == 200  # the second rule doesn't apply
    assert run(plugin, get("/")).header("X-User-RateLimit-Limit") is None
    assert run(plugin, get("/", headers={"user": "a", "project": "q", "n": "0"})).status == 500


def test_sliding_window() -> None:
    host = MemoryHost(now=1_700_000_010.0)  # the beginning of an aligned window of 10 s
    plugin = make(LimitCount, {"count": 10, "time_window": 10, "window_type": "sliding"}, host)
    assert statuses(plugin, *[get("/")] * 12) == [200] * 10 + [503] * 2
    host.advance(15)  # half of the next window: half of the ten still count
    results = [run(plugin, get("/")) for _ in range(6)]
    assert [result.status for result in results] == [200] * 5 + [503]
    assert quota(results[0]) == ("10", "4", "5")
    host.advance(20)
    assert quota(run(plugin, get("/"))) == ("10", "9", "5")


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({}, "is required"),
        ({"count": 1}, "is required"),
        ({"count": 0, "time_window": 1}, "greater than 0"),
        ({"count": 1.5, "time_window": 1}, "count"),
        ({"count": True, "time_window": 1}, "count"),
        ({**TWO, "rules": [{"key": "a", **TWO}]}, "don't go together"),
        ({"rules": []}, "at least 1"),
        ({"rules": [{"count": 1, "time_window": 1}]}, "required"),
        ({**TWO, "key_type": "no"}, "constant"),
        ({**TWO, "rejected_msg": ""}, "at least 1"),
        ({**TWO, "rejected_msg": True}, "string"),
        ({**TWO, "rejected_code": 600}, "599"),
        ({**TWO, "policy": "redis"}, "redis_host"),
        ({**TWO, "policy": "redis-cluster", "redis_cluster_name": "x"}, "redis_cluster_nodes"),
        ({**TWO, "policy": "redis-sentinel", "redis_master_name": "x"}, "redis_sentinels"),
        ({**TWO, "sync_interval": 0.01}, "at least 0.1"),
        ({**TWO, "sync_interval": 60}, "shorter"),
        ({"rules": [{**TWO, "key": "a", "header_prefix": "a b"}]}, "token"),
        ({"count": "many", "time_window": 1}, "must be a number"),
        ({"count": 1, "time_window": "0"}, "positive"),
        ({**TWO, "unknown": 1}, "unknown"),
    ],
)
def test_bad_configurations(conf: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        make(LimitCount, conf)


def test_rate_limiting_info() -> None:
    plugin = make(LimitCount, TWO)
    infos = [orjson.loads(str(run(plugin, get("/")).request.var("rate_limiting_info"))) for _ in range(3)]
    key = infos[0]["rate_limiting_key"]
    assert key.startswith("limit-count/routes/1/")
    assert key.endswith("/127.0.0.1")
    expected = {"rate_limiting_key": key, "rate_limiting_limit": 2, "rate_limiting_reset": 60}
    assert infos == [{**expected, "rate_limiting_remaining": remaining} for remaining in (1, 0, 0)]
    assert get("/").var("rate_limiting_info") is None


def test_exact_across_workers_reloads_and_deaths(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    raw = raw_upstream()

    def resources(**more: Any) -> dict[str, Any]:
        limit = {"count": 20, "time_window": 600}
        upstream = {"type": "roundrobin", "nodes": {raw.address: 1}}
        return {"routes": [{"id": "1", "uri": "/*", "plugins": {"limit-count": limit}, "upstream": upstream, **more}]}

    server = gateway(resources(), workers=3)

    def passed(times: int) -> int:
        count = 0
        for _ in range(times):
            with server.client() as client:
                count += client.request("GET", "/").status == 200
        return count

    assert passed(10) == 10
    server.reload(resources(name="renamed"))
    assert passed(5) == 5
    [victim, *_] = server.worker_pids()
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while victim in server.worker_pids() or len(server.worker_pids()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server.process.wait_line(" workers=")
    assert passed(30) == 5


# --- Redis


@pytest.fixture
def groups(server_directory: Callable[[str], Path]) -> Iterator[Callable[[Any], Any]]:
    with ExitStack() as stack:

        def start(kind: Any) -> Any:
            server = kind(server_directory("redis"))
            stack.callback(server.stop)
            return server

        yield start


async def close(host: MemoryHost) -> None:
    for client in host.states.values():
        pool = getattr(client, "connection_pool", None)
        for sentinel in pool.sentinel_manager.sentinels if hasattr(pool, "sentinel_manager") else ():
            await sentinel.aclose()
        await client.aclose()


def in_loop(conf: dict[str, Any], requests: list[Any], host: MemoryHost | None = None) -> list[Result]:
    """Through one instance in a loop of its own, as a worker has one."""

    async def go() -> list[Result]:
        mine = host or MemoryHost()
        plugin = make(LimitCount, conf, mine)
        results = [await run_async(plugin, request) for request in requests]
        await close(mine)
        mine.states.clear()
        return results

    return asyncio.run(go())


def conf_of(server: RedisServer, **more: Any) -> dict[str, Any]:
    return {**TWO, "policy": "redis", "redis_host": "127.0.0.1", "redis_port": server.port, **more}


def test_redis(redis_server: Callable[..., RedisServer]) -> None:
    conf = conf_of(redis_server(password="secret"), redis_password="secret", redis_database=1)
    results = in_loop(conf, [get("/")] * 3)
    assert [result.status for result in results] == [200, 200, 503]
    assert [quota(result)[:2] for result in results] == [("2", "1"), ("2", "0"), ("2", "0")]
    assert quota(results[0])[2] in ("59", "60")
    assert in_loop(conf, [get("/")])[0].status == 503  # another gateway
    assert in_loop(conf, [get("/", remote_addr="10.1.1.1")])[0].status == 200


def test_redis_windows_end(redis_server: Callable[..., RedisServer]) -> None:
    conf = conf_of(redis_server(), count=1, time_window=1)

    async def go() -> list[int]:
        host = MemoryHost()
        plugin = make(LimitCount, conf, host)
        seen = []
        for pause in (0, 0, 1.1, 0):
            await asyncio.sleep(pause)
            seen.append((await run_async(plugin, get("/"))).status)
        await close(host)
        return seen

    assert asyncio.run(go()) == [200, 503, 200, 503]


def test_redis_is_exact_between_gateways(redis_server: Callable[..., RedisServer]) -> None:
    conf = conf_of(redis_server(), count=30)

    async def go() -> int:
        hosts = [MemoryHost(), MemoryHost()]
        plugins = [make(LimitCount, conf, host) for host in hosts]
        results = await asyncio.gather(*(run_async(plugins[n % 2], get("/")) for n in range(80)))
        for host in hosts:
            await close(host)
        return sum(result.status == 200 for result in results)

    assert asyncio.run(go()) == 30


def test_redis_rules_and_variables(redis_server: Callable[..., RedisServer]) -> None:
    rules = [{"key": "${http_user}", "count": "${http_n ?? 1}", "time_window": 60}]
    conf = {key: value for key, value in conf_of(redis_server()).items() if key not in TWO} | {"rules": rules}
    a, n0 = get("/", headers={"user": "a"}), get("/", headers={"user": "a", "n": "0"})
    results = in_loop(conf, [a, a, get("/"), n0, get("/", headers={"user": "a", "n": "2"})])
    assert [result.status for result in results] == [200, 503, 200, 500, 200]
    assert results[0].header("X-1-RateLimit-Remaining") == "0"


def test_redis_sliding(redis_server: Callable[..., RedisServer]) -> None:
    conf = conf_of(redis_server(), count=10, time_window=10, window_type="sliding")
    first = in_loop(conf, [get("/")] * 11, MemoryHost(now=1_700_000_010.0))
    assert [result.status for result in first] == [200] * 10 + [503]
    later = in_loop(conf, [get("/")] * 6, MemoryHost(now=1_700_000_025.0))
    assert [result.status for result in later] == [200] * 5 + [503]
    assert quota(later[0]) == ("10", "4", "5")


@pytest.mark.parametrize("degrade", [False, True])
def test_redis_is_away(degrade: bool) -> None:
    conf = {**TWO, "policy": "redis", "redis_host": "127.0.0.1", "redis_port": free_port()}
    [result] = in_loop({**conf, "allow_degradation": degrade}, [get("/")])
    if degrade:
        assert result.status == 200
        assert quota(result) == (None, None, None)
    else:
        assert (result.status, result.json()) == (500, {"error_msg": "failed to limit count"})


def test_redis_refuses_database(redis_server: Callable[..., RedisServer]) -> None:
    [result] = in_loop(conf_of(redis_server(), redis_database=999999), [get("/")])
    assert result.status == 500


def test_redis_needs_a_task() -> None:
    conf = {**TWO, "policy": "redis", "redis_host": "127.0.0.1"}
    assert make(LimitCount, conf).needs_task
    assert not make(LimitCount, {**conf, "sync_interval": 0.5}).needs_task
    assert not make(LimitCount, TWO).needs_task


def test_delayed_sync(redis_server: Callable[..., RedisServer]) -> None:
    """Two gateways: each decides alone until it hears of the other."""
    conf = conf_of(redis_server(), count=4, sync_interval=0.2)

    async def go() -> list[int]:
        hosts = [MemoryHost(), MemoryHost()]
        one, other = (make(LimitCount, conf, host) for host in hosts)
        seen = [(await run_async(one, get("/"))).status for _ in range(3)]
        seen += [(await run_async(other, get("/"))).status for _ in range(2)]
        for host in (*hosts, *hosts):
            host.timers, timers = [], host.timers
            for timer in timers:
                timer.fn()
            await host.settle_async()
            seen.append((await run_async(one if host is hosts[0] else other, get("/"))).status)
        for plugin, host in ((one, hosts[0]), (other, hosts[1])):
            plugin.close()
            await host.settle_async()
            await close(host)
        return seen

    # 3 + 2 before the first sync; then one knows of 3 (its own), other of 5, and so does one next time.
    assert asyncio.run(go()) == [200] * 5 + [200, 503, 503, 503]


def test_redis_cluster(groups: Callable[[Any], Any]) -> None:
    cluster = groups(RedisCluster)
    conf = {
        **TWO,
        "policy": "redis-cluster",
        "redis_cluster_nodes": [f"127.0.0.1:{cluster.ports[0]}"],
        "redis_cluster_name": "c",
    }
    for more in ({}, {"window_type": "sliding"}):
        addresses = [f"10.0.0.{n}" for n in range(6)]  # keys of several nodes
        requests = [get("/", remote_addr=address) for address in addresses for _ in range(3)]
        assert [result.status for result in in_loop({**conf, **more}, requests)] == [200, 200, 503] * 6


def test_redis_sentinel(groups: Callable[[Any], Any]) -> None:
    sentinel = groups(RedisSentinel)
    conf = {
        **TWO,
        "policy": "redis-sentinel",
        "redis_sentinels": [{"host": "127.0.0.1", "port": sentinel.port}],
        "redis_master_name": "mymaster",
    }
    assert [result.status for result in in_loop(conf, [get("/")] * 3)] == [200, 200, 503]
