from typing import Any

import pytest

from bascule.plugin.kit.testing import MemoryHost, get, run
from bascule.plugins.fault_injection import FaultInjection
from tests.plugins.faults import fault_paths

YOUNG_JACK = [["arg_name", "==", "jack"], ["arg_age", "!", "<", 18]]
WITH_KEY = [["http_apikey", "==", "api-key"]]
ABORT = {"http_status": 403, "body": "Fault Injection!\n"}


def test_defaults() -> None:
    conf = FaultInjection.Config.model_validate({"abort": {"http_status": 500}, "delay": {"duration": 1}})
    assert conf.model_dump(exclude_none=True) == {"abort": {"http_status": 500}, "delay": {"duration": 1}}


@pytest.mark.parametrize(
    ("abort", "body"),
    [
        ({"http_status": 405, "body": "Fault Injection!\n"}, b"Fault Injection!\n"),
        ({"http_status": 200, "body": "client addr: $remote_addr\n"}, b"client addr: 127.0.0.1\n"),
        ({"http_status": 200, "body": '{"count": $arg_count}'}, b'{"count": 2}'),
        ({"http_status": 200, "body": ""}, b""),
        ({"http_status": 200}, b""),
        ({"http_status": 200, "percentage": 100}, b""),
    ],
)
def test_aborts(abort: dict[str, Any], body: bytes) -> None:
    result = run(FaultInjection, {"abort": abort}, get("/hello?count=2"))
    assert (result.status, result.body, result.answered_by) == (abort["http_status"], body, "fault-injection")


def test_headers_of_an_abort() -> None:
    headers = {"h1": "v1", "h2": 2, "h3": "$uri", "h4": 1.5, "Content-Type": "text/x"}
    abort = {"http_status": 200, "headers": headers, "body": "x"}
    result = run(FaultInjection, {"abort": abort}, get("/he%0D%0Allo"))
    expected = {"h1": "v1", "h2": "2", "h3": "/he llo", "h4": "1.5", "Content-Type": "text/x"}
    assert dict(result.headers) == expected


def test_delays() -> None:
    host = MemoryHost()
    assert run(FaultInjection, {"delay": {"duration": 0.5}}, get("/"), host=host).answered_by == "upstream"
    assert host.slept == [0.5]


def test_the_delay_comes_before_the_abort() -> None:
    host = MemoryHost()
    assert run(FaultInjection, {"delay": {"duration": 1}, "abort": ABORT}, get("/"), host=host).status == 403
    assert host.slept == [1]


@pytest.mark.parametrize("delay", [{"percentage": 0}, {"vars": [WITH_KEY]}])
def test_who_is_not_delayed_does_not_wait(delay: dict[str, Any]) -> None:
    host = MemoryHost()
    run(FaultInjection, {"delay": {"duration": 1, **delay}}, get("/"), host=host)
    assert host.slept == []


def test_a_percentage_is_a_share_of_the_requests() -> None:
    plugin = FaultInjection(
        FaultInjection.Config.model_validate({"abort": {"http_status": 500, "percentage": 25}}), MemoryHost()
    )
    hits = sum(plugin.rewrite(get("/")) is not None for _ in range(2000))
    assert 400 < hits < 600


def test_zero_per_cent_is_nobody() -> None:
    assert run(FaultInjection, {"abort": {**ABORT, "percentage": 0}}, get("/")).answered_by == "upstream"


@pytest.mark.parametrize(
    ("groups", "target", "headers", "hit"),
    [
        ([YOUNG_JACK, WITH_KEY], "/hello?name=jack&age=18", {"apikey": "api-key"}, True),
        ([YOUNG_JACK, WITH_KEY], "/hello?name=jack&age=20", {}, True),
        ([YOUNG_JACK, WITH_KEY], "/hello", {"apikey": "api-key"}, True),
        ([YOUNG_JACK, WITH_KEY], "/hello?name=allen", {}, False),
        ([YOUNG_JACK, WITH_KEY], "/hello", {}, False),
        ([["!AND", *YOUNG_JACK]], "/hello?name=jack&age=17", {}, True),
        ([["!AND", *YOUNG_JACK]], "/hello?name=jack&age=18", {}, False),
        ([], "/hello", {}, True),
    ],
)
def test_vars_are_groups_of_which_one_must_hold(
    groups: list[Any], target: str, headers: dict[str, str], hit: bool
) -> None:
    result = run(FaultInjection, {"abort": {**ABORT, "vars": groups}}, get(target, headers=headers))
    assert (result.status == 403) is hit


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({}, "$"),
        ({"abort": {}}, "$.abort.http_status"),
        ({"abort": {"http_status": 100}}, "$.abort.http_status"),
        ({"abort": {"http_status": 1000}}, "$.abort.http_status"),
        ({"delay": {}}, "$.delay.duration"),
        ({"delay": {"duration": "test"}}, "$.delay.duration"),
        ({"delay": {"duration": -1}}, "$.delay.duration"),
        ({"delay": {"duration": 1, "percentage": 101}}, "$.delay.percentage"),
        ({"abort": {"http_status": 200, "percentage": -1}}, "$.abort.percentage"),
        ({"abort": {"http_status": 200, "percentage": 1.5}}, "$.abort.percentage"),
        ({"abort": {"http_status": 200, "headers": {}}}, "$.abort.headers"),
        ({"abort": {"http_status": 200, "headers": {"a:b": "c"}}}, '$.abort.headers["a:b"]'),
        ({"abort": {"http_status": 200, "headers": {"Transfer-Encoding": "c"}}}, "$.abort.headers"),
        ({"abort": {"http_status": 200, "headers": {"a": "c\r\n"}}}, "$.abort.headers"),
        ({"abort": {"http_status": 200, "headers": {"a": True}}}, "$.abort.headers.a"),
        ({"abort": {"http_status": 200, "vars": [WITH_KEY] * 21}}, "$.abort.vars"),
        ({"abort": {"http_status": 200, "vars": {"a": "b"}}}, "$.abort.vars"),
        ({"abort": {"http_status": 200, "vars": WITH_KEY}}, "$.abort.vars"),
        ({"abort": {"http_status": 200, "vars": [[["arg_name", "!=", "jack"]]]}}, "$.abort.vars"),
        ({"abort": {"status": 200, "http_status": 200}}, "$.abort.status"),
    ],
)
def test_refuses(conf: dict[str, Any], path: str) -> None:
    assert fault_paths(FaultInjection, conf) == [path]
