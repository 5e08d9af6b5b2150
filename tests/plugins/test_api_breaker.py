from collections.abc import Callable
from typing import Any

import pytest

from bascule.plugin.kit.testing import MemoryHost, Upstream, get, make, run
from bascule.plugin.plugin import Plugin
from bascule.plugins.api_breaker import MOST_RECOVERIES, ONE_RECOVERY, ApiBreaker
from tests.plugins.faults import fault_paths, faults
from tests.servers.gateway import Gateway
from tests.servers.raw import RawConnection, RawUpstream, response

CONF = {"break_response_code": 599, "unhealthy": {"http_statuses": [500, 503], "failures": 3}}


def breaker(host: MemoryHost, **more: Any) -> Plugin:
    return make(ApiBreaker, {**CONF, **more}, host)


def ask(plugin: Plugin, status: int | str, target: str = "/a", **headers: str) -> int:
    """The client's status for a request that the upstream would answer with `status` ("502, 200" for two tries)."""
    asked = get(target, headers=headers)
    last = status if isinstance(status, int) else int(status[-3:])

    def answer(sent: object) -> Upstream:
        asked.exchange.variables["upstream_status"] = status  # type: ignore[attr-defined]
        return Upstream(status=last)

    return run([plugin], None, asked, upstream=answer).status


def asked(plugin: Plugin, *statuses: int) -> list[int]:
    return [ask(plugin, status) for status in statuses]


def test_defaults() -> None:
    assert ApiBreaker.Config.model_validate({"break_response_code": 502}).model_dump(exclude_none=True) == {
        "break_response_code": 502,
        "healthy": {"http_statuses": (200,), "successes": 3},
        "max_breaker_sec": 300,
        "unhealthy": {"failures": 3, "http_statuses": (500,)},
    }


def test_opens_after_failures() -> None:
    assert asked(breaker(MemoryHost()), 200, 500, 503, 501, 500, 500) == [200, 500, 503, 501, 500, 599]


def test_each_host_and_path_has_its_own() -> None:
    plugin = breaker(MemoryHost())
    assert asked(plugin, 500, 500, 500, 200) == [500, 500, 500, 599]
    assert ask(plugin, 200, "/a?x=1") == 599
    assert ask(plugin, 200, "/b") == 200
    assert ask(plugin, 200, Host="other.test") == 200


def test_holders_do_not_share() -> None:
    host, other = MemoryHost(), MemoryHost(holder="routes/2")
    other.counters = host.counters
    assert asked(breaker(host), 500, 500, 500, 200)[-1] == 599
    assert ask(breaker(other), 200) == 200


def test_workers_share_it_and_an_edit_keeps_it() -> None:
    host = MemoryHost()
    one, other = breaker(host), breaker(host, break_response_code=503)
    assert [ask(one, 500), ask(other, 500), ask(one, 500), ask(other, 200), ask(one, 200)] == [500, 500, 500, 503, 599]


def test_open_for_twice_as_long_each_time_up_to_the_most() -> None:
    host = MemoryHost()
    plugin = breaker(host, max_breaker_sec=10)
    for seconds in (2, 4, 8, 10, 10):
        assert asked(plugin, 500, 500, 500, 200) == [500, 500, 500, 599]
        host.advance(seconds - 0.1)
        assert ask(plugin, 200) == 599
        host.advance(0.2)


def test_successes_close_it_for_good() -> None:
    host = MemoryHost()
    plugin = breaker(host)
    asked(plugin, 500, 500, 500)
    host.advance(2.1)
    assert asked(plugin, 200, 200, 200, 500, 500, 500, 200) == [200, 200, 200, 500, 500, 500, 599]
    host.advance(2.1)  # again the shortest time
    assert ask(plugin, 200) == 200


def test_a_failure_in_between_starts_the_successes_anew() -> None:
    plugin = breaker(MemoryHost())
    assert asked(plugin, 500, 200, 200, 500, 200, 200, 500, 200) == [500, 200, 200, 500, 200, 200, 500, 599]


def test_successes_reset_the_failures() -> None:
    plugin = breaker(MemoryHost(), healthy={"http_statuses": [200, 206], "successes": 2})
    for _ in range(5):
        assert asked(plugin, 500, 500, 206, 200) == [500, 500, 206, 200]


def test_other_statuses_count_for_nothing() -> None:
    plugin = breaker(MemoryHost())
    assert asked(plugin, 500, 500, 404, 404, 404, 500, 200)[-1] == 599


def test_the_last_of_several_tries_counts() -> None:
    plugin = breaker(MemoryHost())
    assert [ask(plugin, "500, 200") for _ in range(4)] == [200] * 4
    assert [ask(plugin, "502, 500") for _ in range(4)] == [500, 500, 500, 599]


def test_failures_of_requests_that_went_out_before_it_opened_do_not_count() -> None:
    host = MemoryHost()
    plugin = breaker(host)
    late = get("/a", variables={"upstream_status": 500})
    asked(plugin, 500, 500, 500)
    for _ in range(9):
        plugin.log(late)
    host.advance(2.1)
    asked(plugin, 500, 500, 500)
    host.advance(3.9)
    assert ask(plugin, 200) == 599
    host.advance(0.2)
    assert ask(plugin, 200) == 200


def test_recoveries_without_end() -> None:
    plugin = breaker(MemoryHost(), healthy={"successes": 1})
    plugin.host.counters.add("api-breaker/routes/1/gateway.test/a#failures", MOST_RECOVERIES * ONE_RECOVERY)
    for _ in range(3):
        assert asked(plugin, 200, 500, 500, 200) == [200, 500, 500, 200]
    assert plugin.host.counters.get("api-breaker/routes/1/gateway.test/a#failures") < 1 << 36


def test_the_answer() -> None:
    conf = {
        **CONF,
        "break_response_body": '{"message":"opened"}',
        "break_response_headers": [
            {"key": "Content-Type", "value": "application/json"},
            {"key": "Content-Type", "value": "application/json+v1"},
            {"key": "X-From", "value": "$remote_addr"},
            {"key": "X-From", "value": "b"},
        ],
    }
    plugin = make(ApiBreaker, conf, MemoryHost())
    asked(plugin, 500, 500, 500)
    result = run([plugin], None, get("/a"))
    assert (result.status, result.body, result.answered_by) == (599, b'{"message":"opened"}', "api-breaker")
    assert result.header_values("content-type") == ["application/json+v1"]
    assert result.header_values("x-from") == ["127.0.0.1", "b"]


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({}, "$.break_response_code"),
        ({"break_response_code": 199}, "$.break_response_code"),
        ({"break_response_code": 600}, "$.break_response_code"),
        ({"break_response_code": 502, "max_breaker_sec": 2}, "$.max_breaker_sec"),
        ({"break_response_code": 502, "unhealthy": {"http_statuses": [500, 603]}}, "$.unhealthy.http_statuses[1]"),
        ({"break_response_code": 502, "unhealthy": {"failures": 0}}, "$.unhealthy.failures"),
        ({"break_response_code": 502, "healthy": {"http_statuses": [206, 206]}}, "$.healthy.http_statuses"),
        ({"break_response_code": 502, "healthy": {"http_statuses": [500]}}, "$.healthy.http_statuses[0]"),
        ({"break_response_code": 502, "break_response_headers": [{"key": "a"}]}, "$.break_response_headers[0].value"),
        (
            {"break_response_code": 502, "break_response_headers": [{"key": "a b", "value": "c"}]},
            "$.break_response_headers",
        ),
    ],
)
def test_faults(conf: dict[str, Any], path: str) -> None:
    assert fault_paths(ApiBreaker, conf) == [path], faults(ApiBreaker, conf)


def test_in_a_gateway_of_two_workers(gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]) -> None:
    def fail(connection: RawConnection) -> None:
        while True:
            connection.read_request()
            connection.send(response(b"no", "500 No"))

    upstream = raw_upstream(fail)
    conf = {"break_response_code": 503, "break_response_body": "later", "unhealthy": {"failures": 20}}
    route = {
        "id": "a",
        "uri": "/*",
        "plugins": {"api-breaker": conf},
        "upstream": {"nodes": {upstream.address: 1}},
    }
    serving = gateway({"routes": [route]}, workers=2)
    statuses = []
    for _ in range(30):  # a connection each, so that both workers have some
        with serving.client() as client:
            statuses.append(client.request("GET", "/x").status)
    assert statuses == [500] * 20 + [503] * 10
    assert "open for 2 s after 20 failures" in serving.log
