import orjson
import pytest

from bascule.plugin import Response
from bascule.plugin.kit.log_entry import LogEntries, LogFormat, seconds
from bascule.plugin.kit.testing import Binding, Route, get

SETTINGS = {"hostname": "gw", "version": "1.2"}


@pytest.fixture
def logged():
    request = get(
        "/a?x=1&x=2&y=3",
        headers={"X-A": "1"},
        route=Route("5", service_id="s"),
        variables={
            "status": 200,
            "request_time": "0.250",
            "upstream_response_time": "0.050, 0.150",
            "upstream_addr": "1.2.3.4:80",
            "bytes_sent": 120,
            "request_length": 60,
        },
    )
    request.response = Response.from_bytes(b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n")
    return request


def entries(**options):
    return LogEntries(settings=SETTINGS, now=lambda: 1000.0, **options)


def test_the_default_entry(logged):
    assert entries().entry(logged) == {
        "request": {
            "method": "GET",
            "uri": "/a?x=1&x=2&y=3",
            "url": "http://gateway.test:9080/a?x=1&x=2&y=3",
            "size": 60,
            "headers": {"host": "gateway.test", "x-a": "1"},
            "querystring": {"x": ["1", "2"], "y": "3"},
        },
        "response": {"status": 200, "headers": {"set-cookie": ["a", "b"]}, "size": 120},
        "server": SETTINGS,
        "upstream": "1.2.3.4:80",
        "route_id": "5",
        "service_id": "s",
        "client_ip": "127.0.0.1",
        "start_time": 999750,
        "latency": 250.0,
        "upstream_latency": 200.0,
        "apisix_latency": 50.0,
    }
    orjson.dumps(entries().entry(logged))


def test_without_upstream_and_with_a_consumer():
    request = get("/", route=None, variables={"status": 401, "request_time": 0.002})
    request.consumer = Binding("jack")
    entry = entries().entry(request)
    assert entry["consumer"] == {"username": "jack"}
    assert "upstream_latency" not in entry
    assert (entry["latency"], entry["apisix_latency"], entry["route_id"]) == (2.0, 2.0, "")


def test_bodies_are_added(logged):
    entry = entries().entry(logged, "in", "out")
    assert (entry["request"]["body"], entry["response"]["body"]) == ("in", "out")
    entry = entries(log_format={"request": "$uri"}).entry(logged, "in")
    assert entry["request"] == {"body": "in"}


def test_a_format(logged):
    log_format = {
        "host": "$host",
        "status": "$status",
        "constant": "text",
        "number": 5,
        "missing": "$absent",
        "default": "${absent ?? -}",
        "mixed": "$host:$server_port",
        "nested": {"path": "$uri"},
    }
    assert entries(log_format=log_format).entry(logged) == {
        "host": "gateway.test",
        "status": 200,
        "constant": "text",
        "number": 5,
        "default": "-",
        "mixed": "gateway.test:9080",
        "nested": {"path": "/a"},
        "route_id": "5",
        "service_id": "s",
    }


def test_extra_fields(logged):
    entry = entries(extra={"client_ip": "$remote_port", "more": "$uri"}).entry(logged)
    assert (entry["client_ip"], entry["more"], entry["route_id"]) == (34567, "/a", "5")


def test_a_format_is_at_most_five_deep():
    LogFormat({"a": {"b": {"c": {"d": {"e": "x"}}}}})
    with pytest.raises(ValueError, match="5 deep"):
        LogFormat({"a": {"b": {"c": {"d": {"e": {"f": "x"}}}}}})


@pytest.mark.parametrize(("value", "total"), [(None, 0), ("", 0), ("-", 0), (2, 2), ("0.5", 0.5), ("0.5, - : 1", 1.5)])
def test_seconds(value, total):
    assert seconds(value) == total
