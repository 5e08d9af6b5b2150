import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bascule.errors.sentences import faults
from bascule.plugin import Config, Plugin
from bascule.plugin.kit.testing import MemoryHost, Result, Upstream, get, make, run, run_async
from bascule.plugins.limit_conn import LimitConn
from tests.servers.gateway import Gateway
from tests.servers.http2 import Http2Client, rst_stream
from tests.servers.ports import free_port
from tests.servers.raw import Closed, Message, RawClient, RawConnection, response
from tests.servers.redis import RedisServer
from tests.servers.redis_groups import RedisCluster
from tests.servers.switchboard import Switchboard

ONE = {"conn": 1, "burst": 0, "default_conn_delay": 0.1, "key": "remote_addr"}
WAIT_S = 20
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"


def during(plugin: Any, request: Any, *others: Any) -> list[int]:
    """Statuses of a request, and of others that come one after the other while it is in flight."""
    found: list[int] = []

    def upstream(_: Any) -> Upstream:
        found.extend(run(plugin, other).status for other in others)
        return Upstream()

    return [run(plugin, request, upstream=upstream).status, *found]


def nested(plugin: Any, depth: int, request: Callable[[], Any] = lambda: get("/")) -> list[Result]:
    """`depth` requests in flight at a time, in the order of their coming."""
    results: list[Result] = []

    def upstream(_: Any) -> Upstream:
        if depth > 1:
            results.extend(nested(plugin, depth - 1, request))
        return Upstream()

    result = run(plugin, request(), upstream=upstream)
    return [result, *(results or (nested(plugin, depth - 1, request) if depth > 1 else ()))]


def test_so_many_at_a_time() -> None:
    plugin = make(LimitConn, ONE)
    assert during(plugin, get("/"), get("/"), get("/")) == [200, 503, 503]
    assert during(plugin, get("/"), get("/", remote_addr="10.0.0.9")) == [200, 200]
    assert plugin.host.in_flight.held == {}  # type: ignore[attr-defined]


def test_rejection() -> None:
    assert [result.body for result in nested(make(LimitConn, ONE), 2)] == [b"upstream", b""]
    plugin = make(LimitConn, {**ONE, "rejected_code": 429, "rejected_msg": "slow down"})
    result = nested(plugin, 2)[1]
    assert (result.status, result.json()) == (429, {"error_msg": "slow down"})


def test_a_burst_comes_late() -> None:
    host = MemoryHost()
    plugin = make(LimitConn, {**ONE, "conn": 2, "burst": 3, "only_use_default_delay": True}, host)
    assert [result.status for result in nested(plugin, 7)] == [200] * 5 + [503] * 2
    assert host.slept == pytest.approx([0.1, 0.1, 0.2])
    assert host.in_flight.held == {}


@pytest.mark.parametrize(("only_default", "late_s"), [(False, 0.3), (True, 0.1)])
def test_the_delay_follows_how_long_requests_take(only_default: bool, late_s: float) -> None:
    host = MemoryHost()
    plugin = make(LimitConn, {**ONE, "burst": 1, "only_use_default_delay": only_default}, host)
    run(plugin, get("/", variables={"request_time": 0.5}))  # (0.1 + 0.5) / 2
    nested(plugin, 2, lambda: get("/", variables={"request_time": 0.9}))
    assert host.slept == pytest.approx([late_s])
    # What the second took without its own wait of 0.3 s, then the first: ((0.3 + 0.6) / 2 + 0.9) / 2.
    nested(plugin, 2)
    assert host.slept[1] == pytest.approx(0.1 if only_default else 0.675)


@pytest.mark.parametrize(
    ("conf", "same", "other"),
    [
        ({"key": "http_a"}, {"headers": {"a": "1"}}, {"headers": {"a": "2"}}),
        ({"key": "$http_a $http_b", "key_type": "var_combination"}, {"headers": {"a": "1"}}, {"headers": {"b": "1"}}),
        ({"key": "all", "key_type": "constant"}, {}, None),
        ({"key": "http_none"}, {}, {"remote_addr": "10.0.0.9"}),
        ({"key": "abcdefgh", "key_type": "var_combination"}, {}, {"remote_addr": "10.0.0.9"}),
    ],
)
def test_keys(conf: dict[str, Any], same: dict[str, Any], other: dict[str, Any] | None) -> None:
    plugin = make(LimitConn, {**ONE, **conf})
    assert during(plugin, get("/", **same), get("/", **same)) == [200, 503]
    more = {"remote_addr": "9.9.9.9"} if other is None else other
    assert during(plugin, get("/", **same), get("/", **more)) == [200, 503 if other is None else 200]


def test_numbers_from_variables() -> None:
    plugin = make(LimitConn, {**ONE, "conn": "${http_conn ?? 1}", "burst": "${http_burst}"})
    with_burst = get("/", headers={"burst": "0"})
    assert during(plugin, get("/", headers={"burst": "0"}), with_burst) == [200, 503]
    assert during(plugin, get("/", headers={"burst": "0"}), get("/", headers={"burst": "1"})) == [200, 200]
    assert during(plugin, with_burst, get("/", headers={"burst": "0", "conn": "2"})) == [200, 200]


@pytest.mark.parametrize("headers", [{"n": "0"}, {"n": "x"}, {"n": "1.5"}, {"b": "-1"}])
@pytest.mark.parametrize("more", [{}, {"allow_degradation": True}])
def test_unusable_variables_are_refused(headers: dict[str, str], more: dict[str, Any]) -> None:
    conf = {**ONE, "conn": "${http_n ?? 1}", "burst": "${http_b ?? 0}", **more}
    result = run(LimitConn, conf, get("/", headers=headers))
    assert (result.status, result.json()) == (500, {"error_msg": "failed to limit conn"})
    assert result.host.in_flight.held == {}


def test_rules() -> None:
    rules = [
        {"key": "${http_user}", "conn": 1, "burst": 0},
        {"key": "${http_project}", "conn": 2, "burst": "0"},
    ]
    host = MemoryHost()
    plugin = make(LimitConn, {"default_conn_delay": 0.1, "rules": rules}, host)

    def of(user: str, project: str) -> Any:
        return get("/", headers={"user": user, "project": project})

    assert during(plugin, of("a", "p"), of("a", "q"), of("b", "p")) == [200, 503, 200]
    statuses: list[int] = []

    def upstream(_: Any) -> Upstream:
        # The second in project p: a third is refused, and what it held of its user's share comes free at once.
        statuses.extend(during(plugin, of("b", "p"), of("c", "p"), of("c", "q"), get("/")))
        return Upstream()

    assert run(plugin, of("a", "p"), upstream=upstream).status == 200
    assert statuses == [200, 503, 200, 200]
    assert host.in_flight.held == {}


def test_an_edit_keeps_the_count() -> None:
    host = MemoryHost()
    plugin = make(LimitConn, ONE, host)
    found: list[int] = []

    def upstream(_: Any) -> Upstream:
        edited = make(LimitConn, {**ONE, "conn": 2}, host)
        found.extend(during(edited, get("/"), get("/")))
        found.append(run(make(LimitConn, {**ONE, "key": "server_port"}, host), get("/")).status)
        return Upstream()

    run(plugin, get("/"), upstream=upstream)
    assert found == [200, 503, 200]
    assert host.in_flight.held == {}


RULE = {"key": "a", "conn": 1, "burst": 1}


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({}, 'needs "conn" and "burst" and "key" and "default_conn_delay"'),
        ({"conn": 1, "key": "a", "default_conn_delay": 1}, 'needs "burst" \\("rules" may stand for'),
        ({"rules": [RULE]}, 'needs "default_conn_delay"'),
        ({**ONE, "rules": [RULE]}, "don't go together"),
        ({"default_conn_delay": 1, "rules": []}, "at least 1"),
        ({"default_conn_delay": 1, "rules": [{"key": "a", "conn": 1}]}, "required"),
        ({**ONE, "conn": 0}, "greater than 0"),
        ({**ONE, "conn": 1.5}, "conn"),
        ({**ONE, "conn": "0"}, "positive"),
        ({**ONE, "burst": -1}, "greater than or equal to 0"),
        ({**ONE, "burst": "-1"}, "0 or more"),
        ({**ONE, "default_conn_delay": 0}, "greater than 0"),
        ({**ONE, "key_type": "no"}, "constant"),
        ({**ONE, "rejected_msg": ""}, "at least 1"),
        ({**ONE, "rejected_msg": True}, "string"),
        ({**ONE, "rejected_code": 600}, "599"),
        ({**ONE, "rejected_code": 199}, "200"),
        ({**ONE, "policy": "redis"}, "redis_host"),
        ({**ONE, "policy": "redis-cluster", "redis_cluster_name": "x"}, "redis_cluster_nodes"),
        ({**ONE, "key_ttl": 0}, "greater than"),
        ({**ONE, "unknown": 1}, "unknown"),
    ],
)
def test_bad_configurations(conf: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        make(LimitConn, conf)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"conn": -1}, 'property "conn" validation failed: value should match only one schema, but matches none'),
        ({"burst": None}, "value should match only one schema, but matches none"),
        ({"rules": [RULE]}, "value should match only one schema, but matches both schemas 1 and 2"),
        (
            {"rejected_msg": ""},
            'property "rejected_msg" validation failed: string too short, expected at least 1, got 0',
        ),
        ({"policy": "redis"}, "then clause did not match"),
    ],
)
def test_what_apisix_says(change: dict[str, Any], text: str) -> None:
    conf = {name: value for name, value in {**ONE, **change}.items() if value is not None}
    with pytest.raises(ValidationError) as caught:
        LimitConn.Config.model_validate(conf)
    assert faults(caught.value, conf, LimitConn.Config)[0].text.endswith(text)


# --- in a gateway


class Hold:
    """Answers a path when told to; `came` counts requests."""

    def __init__(self, board: Switchboard, path: str, answer: bytes = response(b"done")) -> None:
        self.came = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

        @board.on(path)
        def _(up: RawConnection, head: Message) -> None:
            self.came.release()
            assert self.go.acquire(timeout=WAIT_S)
            if answer:
                up.send(answer)
            if answer in (b"", CUT):
                up.close()


def resources(board: Switchboard, **change: Any) -> dict[str, Any]:
    def route(id: str, conf: dict[str, Any], name: str = "limit-conn") -> dict[str, Any]:
        upstream = {"nodes": {board.address: 1}, "retries": 0}
        return {"id": id, "uri": f"/{id}", "plugins": {name: conf}, "upstream": upstream}

    all_clients = {**ONE, "key": "all", "key_type": "constant"}
    rule = {"actions": [["limit-conn", {**all_clients, "conn": 2}]]}
    return {
        "routes": [
            route("two", {**all_clients, "conn": 2, **change}),
            route("late", {**all_clients, "burst": 1, "default_conn_delay": 600}),
            route("flow", {"rules": [rule]}, "workflow"),
        ]
    }


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    return module_gateway(resources(board), workers=2)


def ask(served: Gateway, target: str) -> RawClient:
    client = served.client()
    client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client


def let_in(served: Gateway, hold: Hold, target: str) -> RawClient:
    """A request that came to the upstream: asked for again until there is a place."""
    deadline = time.monotonic() + WAIT_S
    while True:
        client = ask(served, target)
        while not hold.came.acquire(timeout=0.02):
            assert time.monotonic() < deadline
            if readable(client):
                assert client.read_response().status == 503
                break
        else:
            return client
        client.close()


def readable(*clients: RawClient, timeout_s: float = 0) -> list[RawClient]:
    found = select.select([client.sock for client in clients], [], [], timeout_s)[0]
    return [client for client in clients if client.sock in found]


def is_refused(served: Gateway, target: str) -> bool:
    with ask(served, target) as client:
        return client.read_response().status == 503


def finish(hold: Hold, *clients: RawClient) -> None:
    hold.go.release(len(clients))
    for client in clients:
        with client:
            assert client.read_response().status == 200


def all_places_are_free(served: Gateway, hold: Hold, target: str, count: int) -> None:
    """Neither fewer nor more."""
    clients = [let_in(served, hold, target) for _ in range(count)]
    assert is_refused(served, target)
    finish(hold, *clients)


@pytest.mark.parametrize("path", ["/two", "/flow"])
def test_exact_over_workers(served: Gateway, board: Switchboard, path: str) -> None:
    hold = Hold(board, path)
    clients = [let_in(served, hold, path) for _ in range(2)]
    assert all(is_refused(served, path) for _ in range(12))  # by either worker
    finish(hold, *clients)
    all_places_are_free(served, hold, path, 2)


def test_clients_that_go(served: Gateway, board: Switchboard) -> None:
    hold = Hold(board, "/two")
    for client in [let_in(served, hold, "/two") for _ in range(2)]:
        client.close()
    hold.go.release(2)
    all_places_are_free(served, hold, "/two", 2)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", CUT])
def test_upstreams_that_go(served: Gateway, board: Switchboard, answer: bytes) -> None:
    hold = Hold(board, "/two", answer)
    clients = [let_in(served, hold, "/two") for _ in range(2)]
    hold.go.release(10)  # one that came by a kept connection is sent once more
    for client in clients:
        with client:
            if answer != CUT:
                assert client.read_response().status == 502
            else:
                with pytest.raises(Closed):
                    client.read_response()
    all_places_are_free(served, Hold(board, "/two"), "/two", 2)


def test_who_leaves_while_it_is_kept_waiting(served: Gateway, board: Switchboard) -> None:
    hold = Hold(board, "/late")
    first = let_in(served, hold, "/late")
    # Of two more, one gets the place of the burst, and the other is refused.
    others = [ask(served, "/late") for _ in range(2)]
    [refused, *_] = readable(*others, timeout_s=WAIT_S)
    assert refused.read_response().status == 503
    for other in others:
        other.close()
    finish(hold, first)
    finish(hold, let_in(served, hold, "/late"))


def test_streams_of_http2(served: Gateway, board: Switchboard) -> None:
    hold = Hold(board, "/two")
    with Http2Client(served.port) as client:
        streams = [client.request("/two") for _ in range(2)]
        for _ in streams:
            assert hold.came.acquire(timeout=WAIT_S)
        assert client.get("/two").status == 503
        client.raw(rst_stream(streams[0]))
        other = let_in(served, hold, "/two")
        hold.go.release(2)
        finish(hold, other)
        assert client.wait(streams[1]).status == 200
    all_places_are_free(served, hold, "/two", 2)


def test_workers_that_are_killed(served: Gateway, board: Switchboard) -> None:
    hold = Hold(board, "/two")
    clients = [let_in(served, hold, "/two") for _ in range(2)]
    before = served.worker_pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + WAIT_S
    while len(set(served.worker_pids()) - set(before)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    hold.go.release(2)
    for client in clients:
        client.close()
    all_places_are_free(served, hold, "/two", 2)


def test_a_changed_limit_counts_those_in_flight(served: Gateway, board: Switchboard) -> None:
    hold = Hold(board, "/two")
    clients = [let_in(served, hold, "/two") for _ in range(2)]
    served.reload(resources(board, conn=3))
    clients.append(let_in(served, hold, "/two"))
    assert is_refused(served, "/two")
    finish(hold, *clients)
    served.reload(resources(board))
    all_places_are_free(served, hold, "/two", 2)


# --- Redis


def in_loop(conf: dict[str, Any], work: Callable[[Any, MemoryHost], Any]) -> Any:
    """In a loop of its own, as a worker has one."""

    async def go() -> Any:
        host = MemoryHost()
        plugin = make(LimitConn, conf, host)
        try:
            return await work(plugin, host)
        finally:
            for _, coro in host.spawned:  # what still had to be told to Redis
                coro.close()
            for client in host.states.values():
                await client.aclose()

    return asyncio.run(go())


class Wait(Plugin):
    """Runs behind limit-conn in the same chain: the request goes on when so many are known about."""

    name = "wait"
    priority = 1
    needs_task = True
    Config = Config

    def __init__(self, count: int) -> None:
        super().__init__(None, MemoryHost())
        self.count = count
        self.all_known = asyncio.Event()

    def known(self) -> None:
        self.count -= 1
        if self.count == 0:
            self.all_known.set()

    async def access(self, request: Any) -> None:
        self.known()
        await asyncio.wait_for(self.all_known.wait(), WAIT_S)


async def at_a_time(plugin: Any, count: int) -> list[int]:
    """Statuses of so many requests in flight at a time; all are over afterwards."""
    wait = Wait(count)

    async def one() -> int:
        result = await run_async([plugin, wait], get("/"))
        if result.answered_by == "limit-conn":
            wait.known()
        return result.status

    statuses = await asyncio.gather(*(one() for _ in range(count)))
    await plugin.host.settle_async()
    return sorted(statuses)


def conf_of(server: RedisServer, **more: Any) -> dict[str, Any]:
    return {**ONE, "policy": "redis", "redis_host": "127.0.0.1", "redis_port": server.port, **more}


def test_redis(redis_server: Callable[..., RedisServer]) -> None:
    conf = conf_of(redis_server(), conn=2)

    async def work(plugin: Any, host: MemoryHost) -> Any:
        other = make(LimitConn, conf, host)
        held = await at_a_time(plugin, 5), await at_a_time(other, 3)
        return held

    assert in_loop(conf, work) == ([200, 200, 503, 503, 503], [200, 200, 503])
    assert in_loop(conf, lambda plugin, host: at_a_time(plugin, 3)) == [200, 200, 503]  # another gateway


def test_redis_forgets_what_a_killed_gateway_held(redis_server: Callable[..., RedisServer]) -> None:
    conf = conf_of(redis_server(), key_ttl=1)

    async def killed(plugin: Any, host: MemoryHost) -> int:
        status = (await run_async(plugin, get("/"))).status
        host.spawned.pop()[1].close()  # what would have told Redis
        return status

    async def later(plugin: Any, host: MemoryHost) -> list[int]:
        first = (await run_async(plugin, get("/"))).status
        await asyncio.sleep(1.1)
        return [first, *await at_a_time(plugin, 2)]

    assert in_loop(conf, killed) == 200
    assert in_loop(conf, later) == [503, 200, 503]


def test_redis_counts_nobody_who_left_while_it_was_asked(redis_server: Callable[..., RedisServer]) -> None:
    conf = conf_of(redis_server())

    async def work(plugin: Any, host: MemoryHost) -> list[int]:
        for turns in range(12):  # given up at each step of the way
            request = get("/")
            asked = asyncio.ensure_future(plugin.access(request))
            for _ in range(turns):
                await asyncio.sleep(0)
            asked.cancel()
            plugin.log(request)
            await asyncio.wait([asked])
            await host.settle_async()
        return await at_a_time(plugin, 2)

    assert in_loop(conf, work) == [200, 503]


def test_redis_late_and_by_rules(redis_server: Callable[..., RedisServer]) -> None:
    conf = conf_of(redis_server())
    for name in ("conn", "burst", "key"):
        del conf[name]
    conf["rules"] = [{"key": "all", "conn": 1, "burst": 1}, {"key": "${http_none}", "conn": 1, "burst": 0}]

    async def work(plugin: Any, host: MemoryHost) -> Any:
        return await at_a_time(plugin, 3), host.slept

    assert in_loop(conf, work) == ([200, 200, 503], [0.1])


@pytest.mark.parametrize("degrade", [False, True])
def test_redis_is_away(degrade: bool) -> None:
    conf = {**ONE, "policy": "redis", "redis_host": "127.0.0.1", "redis_port": free_port()}
    found = in_loop({**conf, "allow_degradation": degrade}, lambda plugin, host: run_async(plugin, get("/")))
    if degrade:
        assert found.status == 200
    else:
        assert (found.status, found.json()) == (500, {"error_msg": "failed to limit conn"})


def test_redis_is_away_at_the_end(redis_server: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture) -> None:
    server = redis_server()

    async def work(plugin: Any, host: MemoryHost) -> int:
        status = (await run_async(plugin, get("/"))).status
        server.stop()
        await host.settle_async()
        return status

    assert in_loop(conf_of(server), work) == 200
    assert "counted for up to 3600 s" in caplog.text


def test_redis_counts_late_what_was_given_up(redis_server: Callable[..., RedisServer]) -> None:
    """A Redis that stood still takes in what came meanwhile, also of a request that is over."""
    server = redis_server()

    async def work(plugin: Any, host: MemoryHost) -> list[int]:
        found = await at_a_time(plugin, 1)  # there is a connection
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            found.append((await run_async(plugin, get("/"))).status)
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        await host.settle_async()
        return [*found, *await at_a_time(plugin, 2)]

    assert in_loop(conf_of(server, redis_timeout=200), work) == [200, 500, 200, 503]


def test_redis_cluster(tmp_path: Path) -> None:
    cluster = RedisCluster(tmp_path)
    try:
        conf = {
            **ONE,
            "policy": "redis-cluster",
            "redis_cluster_nodes": [f"127.0.0.1:{cluster.ports[0]}"],
            "redis_cluster_name": "c",
        }
        assert in_loop(conf, lambda plugin, host: at_a_time(plugin, 3)) == [200, 503, 503]
    finally:
        cluster.stop()
