"""retry_policy: which failures and statuses are tried again, how often, how soon; and what the nodes get of it."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from bascule.engine.retry import RetryPlan, cause_of, retry_after
from bascule.model.retry_policy import RetryPolicy
from tests.servers.acting import (
    Act,
    ActingNode,
    close,
    garbage,
    ok,
    reset,
    reset_in_body,
    reset_in_head,
    silent,
    slow,
    status,
)
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import Closed

S = 1_000_000
EVERYTHING = ["connect", "timeout", "reset", "malformed", 503, 429]


def plan(**policy: Any) -> RetryPlan:
    return RetryPlan(RetryPolicy.model_validate(policy))


def test_causes_and_statuses() -> None:
    one = plan(on=["connect", 503])
    assert [cause_of(reason) for reason in range(1, 8) if one.takes(reason)] == ["connect"] * 3
    assert [code for code in range(700) if one.takes_status(code)] == [503]
    assert not any(plan().takes_status(code) for code in range(700))


def test_methods_of_hedges_are_their_own() -> None:
    one = plan(methods=["GET", "POST"], hedge={"delay": 1})
    repeated = {code for code in range(16) if one.repeats(code)}
    hedged = {code for code in range(16) if one.hedges(code)}
    assert (len(repeated), len(hedged), len(repeated & hedged)) == (2, 3, 1)  # GET and POST; GET, HEAD and OPTIONS
    assert not any(plan().hedges(code) for code in range(16))


def test_the_budget_is_a_share_of_the_last_ten_seconds() -> None:
    one = plan(budget={"percent": 20, "min_per_second": 0})
    now = 100 * S
    for _ in range(50):
        one.count(now)
    assert [one.grant(now) for _ in range(12)] == [True] * 10 + [False] * 2
    now += 9 * S
    for _ in range(5):
        one.count(now)
    assert [one.grant(now) for _ in range(2)] == [True, False]
    now += S  # the fifty and the ten are forgotten
    assert not one.grant(now)
    for _ in range(5):
        one.count(now)
    assert [one.grant(now) for _ in range(2)] == [True, False]
    now += 1000 * S
    assert not one.grant(now)


def test_some_retries_a_second_are_always_granted() -> None:
    one = plan(budget={"percent": 0, "min_per_second": 0.5})
    assert [one.grant(7 * S) for _ in range(6)] == [True] * 5 + [False]


def test_backoff_doubles_up_to_its_most() -> None:
    one = plan(backoff={"base": 0.1, "max": 0.5, "jitter": 0})
    assert [one.wait(n) for n in (1, 2, 3, 4, 500)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    waits = [plan(backoff={"base": 0.1, "jitter": 0.5}).wait(1) for _ in range(100)]
    assert 0.05 <= min(waits) < max(waits) <= 0.1
    assert plan().wait(1) == 0


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        (b"Retry-After: 7", 7),
        (b"retry-after:12 ", 12),
        (b"Retry-After: -1", 0),
        (b"Retry-After: \xb2", 0),
        (b"Retry-After: soon", 0),
        (b"Retry-After:", 0),
        (b"Retry-After: Tue, 01 Jan 2019 00:00:00 GMT", 0),
        (b"Retry-After: " + b"9" * 5000, 999999999),
        (b"X: 1", 0),
    ],
)
def test_retry_after(line: bytes, seconds: float) -> None:
    assert retry_after(b"HTTP/1.1 503 No\r\n" + line + b"\r\n\r\n") == seconds


def test_retry_after_as_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True).encode()
    assert 50 < retry_after(b"HTTP/1.1 503 No\r\nRetry-After: " + date + b"\r\n\r\n") <= 60


# --- in a gateway


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[ActingNode, ActingNode]]:
    one, other = ActingNode(), ActingNode()
    yield one, other
    one.stop()
    other.stop()


@pytest.fixture(scope="module")
def served(nodes: tuple[ActingNode, ActingNode], module_gateway: Callable[..., Gateway]) -> Gateway:
    # The first one has each turn that isn't a retry.
    two = [
        {"host": "127.0.0.1", "port": node.port, "weight": 1, "priority": -place} for place, node in enumerate(nodes)
    ]
    alone = two[:1]
    dead = [{"host": "127.0.0.1", "port": free_port(), "weight": 1, "priority": 1}, two[1]]
    upstreams: dict[str, dict[str, Any]] = {
        "plain": {"nodes": two},
        "none": {"nodes": two, "retries": 0},
        "policy": {"nodes": two, "retry_policy": {"on": EVERYTHING}},
        "statuses": {"nodes": two, "retry_policy": {"on": [503]}},
        "posts": {"nodes": two, "retry_policy": {"on": EVERYTHING, "methods": ["GET", "POST"]}},
        "alone": {"nodes": alone, "retries": 3, "retry_policy": {"on": EVERYTHING}},
        "poor": {
            "nodes": alone,
            "retries": 9,
            "retry_policy": {"on": [503], "budget": {"percent": 50, "min_per_second": 0}},
        },
        "patient": {
            "nodes": alone,
            "retries": 2,
            "retry_policy": {"on": [503], "backoff": {"base": 0.2, "jitter": 0}, "retry_after_max": 1},
        },
        "hurried": {"nodes": two, "retry_policy": {"per_try_timeout": 0.6}},
        "deadline": {"nodes": two, "retry_timeout": 0.5, "retry_policy": {"on": [503]}},
        "dead": {"nodes": dead, "retry_policy": {"on": ["connect"]}},
        "absent": {
            "nodes": [{"host": "unix:/nonexistent/socket", "weight": 1}],
            "retries": 300,
            "retry_policy": {"budget": {"min_per_second": 1000}},
        },
        "dead-status-only": {"nodes": dead, "retry_policy": {"on": [503]}},
    }
    routes = [{"id": name, "uri": f"/{name}", "upstream": upstream} for name, upstream in upstreams.items()]
    config = {"apisix": {"show_upstream_status_in_response_header": True}}
    return module_gateway({"routes": routes}, config)


def tried(
    served: Gateway,
    nodes: tuple[ActingNode, ActingNode],
    path: str,
    *acts: Act,
    method: str = "GET",
    body: bytes = b"",
) -> tuple[int, str, int, int]:
    """(status, X-APISIX-Upstream-Status, requests that the first node got, those of the second); the first node acts so
    and the second is well."""
    nodes[0].play(*acts)
    nodes[1].play()
    with served.client() as client:
        answer = client.request(method, path, body=body)
    return answer.status, answer.header("X-APISIX-Upstream-Status") or "", len(nodes[0].seen), len(nodes[1].seen)


# What the client sees when the first of two nodes fails: with APISIX's attributes alone, and with a policy.
FAILURES = [
    (reset, (200, "502, 200", 1, 1), (200, "502, 200", 1, 1)),
    (close, (200, "502, 200", 1, 1), (200, "502, 200", 1, 1)),
    (garbage, (502, "502", 1, 0), (200, "502, 200", 1, 1)),
    (reset_in_head, (502, "502", 1, 0), (200, "502, 200", 1, 1)),
    (status(503), (503, "503", 1, 0), (200, "503, 200", 1, 1)),
    (status(429), (429, "429", 1, 0), (200, "429, 200", 1, 1)),
    (status(500), (500, "500", 1, 0), (500, "500", 1, 0)),
]


@pytest.mark.parametrize(("act", "plain", "policy"), FAILURES)
def test_what_the_client_sees(
    act: Act, plain: tuple[Any, ...], policy: tuple[Any, ...], served: Gateway, nodes: tuple[ActingNode, ActingNode]
) -> None:
    assert tried(served, nodes, "/plain", act) == plain
    assert tried(served, nodes, "/policy", act) == policy


@pytest.mark.parametrize("act", [reset, garbage, reset_in_head, status(503)])
def test_a_post_that_went_out_is_not_sent_again(
    act: Act, served: Gateway, nodes: tuple[ActingNode, ActingNode]
) -> None:
    for path in ("/plain", "/policy"):
        code, _, first, second = tried(served, nodes, path, act, method="POST", body=b"hello")
        assert (code in (502, 503), first, second) == (True, 1, 0)


@pytest.mark.parametrize("act", [reset, garbage, status(503)])
@pytest.mark.parametrize("size", [5, 100_000])
def test_a_post_that_the_policy_names_is_sent_again_with_its_body(
    act: Act, size: int, served: Gateway, nodes: tuple[ActingNode, ActingNode]
) -> None:
    assert tried(served, nodes, "/posts", act, method="POST", body=b"x" * size)[::2] == (200, 1)
    assert [len(request.body) for request in nodes[1].seen] == [size]


def test_a_body_beyond_the_buffer_is_not_sent_again(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    code, _, first, second = tried(served, nodes, "/posts", status(503), method="POST", body=b"x" * 500_000)
    assert (code, first, second) == (503, 1, 0)


def test_a_body_that_is_still_coming_goes_on_to_the_next_node(
    served: Gateway, nodes: tuple[ActingNode, ActingNode]
) -> None:
    def early(connection: Any) -> None:
        connection.read_until(b"hel")
        connection.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    nodes[0].play()
    nodes[1].play()
    nodes[0].upstream.scripts = (early,)
    try:
        with served.client() as client:
            connections = len(nodes[1].upstream.connections)
            client.send(b"POST /posts HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
            nodes[1].upstream.wait_connections(connections + 1)
            client.send(b"lo")
            assert client.read_response().status == 200
    finally:
        nodes[0].upstream.scripts = (nodes[0]._play,)
    assert [request.body for request in nodes[1].seen] == [b"hello"]


def test_a_response_that_has_begun_is_cut(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    for path in ("/plain", "/policy"):
        with pytest.raises(Closed):
            tried(served, nodes, path, reset_in_body)
        assert (len(nodes[0].seen), len(nodes[1].seen)) == (1, 0)


def test_retries_0(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    assert tried(served, nodes, "/none", reset) == (502, "502", 1, 0)


def test_causes_that_the_policy_leaves_out(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    assert tried(served, nodes, "/statuses", reset) == (502, "502", 1, 0)
    assert tried(served, nodes, "/statuses", status(503)) == (200, "503, 200", 1, 1)
    assert tried(served, nodes, "/dead-status-only", method="POST")[0] == 502


def test_the_only_node_is_tried_again(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    assert tried(served, nodes, "/alone", reset, status(503)) == (200, "502, 503, 200", 3, 0)


def test_the_last_answer_passes(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    bad = status(503, [("X-Node", "last")], b"sorry")
    nodes[0].play(bad, bad, bad, bad, bad)
    with served.client() as client:
        answer = client.request("GET", "/alone")
        assert (answer.status, answer.header("X-Node"), answer.body) == (503, "last", b"sorry")
    assert len(nodes[0].seen) == 4
    assert answer.header("X-APISIX-Upstream-Status") == "503, 503, 503, 503"


def test_the_budget_keeps_a_storm_away(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    nodes[0].play()
    nodes[0].usual = status(503)
    try:
        with served.client() as client:
            assert {client.request("GET", "/poor").status for _ in range(20)} == {503}
    finally:
        nodes[0].usual = ok
    assert 20 < len(nodes[0].seen) <= 30
    assert 'bascule_retries{cause="over budget"}' in served.metrics()


def test_backoff_and_retry_after(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    began = time.monotonic()
    assert tried(served, nodes, "/patient", status(503), status(503)) == (200, "503, 503, 200", 3, 0)
    assert time.monotonic() - began >= 0.6
    began = time.monotonic()
    assert tried(served, nodes, "/patient", status(503, [("Retry-After", "1")])) == (200, "503, 200", 2, 0)
    assert time.monotonic() - began >= 1
    assert tried(served, nodes, "/patient", status(503, [("Retry-After", "2")])) == (503, "503", 1, 0)


def test_a_client_that_goes_while_it_waits(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    nodes[0].play(status(503, [("Retry-After", "1")]))
    with served.client() as client:
        client.send(b"GET /patient?gone HTTP/1.1\r\nHost: a\r\n\r\n")
        nodes[0].wait_seen(1)
    assert " 499 " in served.logged("/patient?gone")
    time.sleep(1.2)
    assert len(nodes[0].seen) == 1


def test_per_try_timeout(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    assert tried(served, nodes, "/hurried", silent) == (200, "504, 200", 1, 1)
    assert tried(served, nodes, "/hurried", slow(0.05)) == (200, "200", 1, 0)
    assert tried(served, nodes, "/hurried", silent, method="POST", body=b"x") == (504, "504", 1, 0)


def test_a_slow_client_does_not_use_up_the_time_of_a_try(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    nodes[0].play()
    nodes[1].play()
    with served.client() as client:
        client.send(b"PUT /hurried HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
        time.sleep(0.8)
        client.send(b"lo")
        assert client.read_response().status == 200
    assert (len(nodes[0].seen), len(nodes[1].seen)) == (1, 0)


def test_retry_timeout_ends_the_tries(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    def late(connection: Any, request: Any) -> None:
        time.sleep(0.7)
        status(503)(connection, request)

    assert tried(served, nodes, "/deadline", late) == (503, "503", 1, 0)
    assert tried(served, nodes, "/deadline", status(503)) == (200, "503, 200", 1, 1)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_never_went_out_is_sent_elsewhere(
    method: str, served: Gateway, nodes: tuple[ActingNode, ActingNode]
) -> None:
    code, _, first, second = tried(served, nodes, "/dead", method=method, body=b"hello")
    assert (code, first, second) == (200, 0, 1)


def test_many_tries_that_fail_at_once(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    assert tried(served, nodes, "/absent")[0] == 502
    assert served.log.count("unix:/nonexistent/socket: no connection could be opened; trying another node") == 300


def test_metrics_and_the_access_log_tell_the_tries(served: Gateway, nodes: tuple[ActingNode, ActingNode]) -> None:
    tried(served, nodes, "/policy?told", status(503))
    text = served.metrics()
    for cause in ("reset", "malformed", "status", "timeout", "connect"):
        assert f'bascule_retries{{cause="{cause}"}}' in text
    line = served.logged("/policy?told")
    assert f"{nodes[0].address}, {nodes[1].address}" in line
    assert "503, 200" in line


def test_a_try_that_never_began_takes_no_time_in_the_log(tmp_path: Path) -> None:
    node = ActingNode()
    nodes = [
        {"host": "does-not-exist.invalid", "port": 80, "weight": 1, "priority": 1},
        {"host": "127.0.0.1", "port": node.port, "weight": 1, "priority": 0},
    ]
    config = {"nginx_config": {"http": {"access_log_format": "$upstream_status|$upstream_response_time"}}}
    one = Gateway(tmp_path, {"routes": [{"id": "a", "uri": "/*", "upstream": {"nodes": nodes, "retries": 1}}]}, config)
    with one.client() as client:
        assert client.request("GET", "/").status == 200
    statuses, _, times = one.access_log(1).strip().partition("|")
    assert statuses == "502, 200"
    assert all(float(seconds) < 60 for seconds in times.split(","))
    assert one.stop() == 0
    node.upstream.stop()
