"""Lines of the access log: the format language, the default format, escaping."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from bascule.engine.access_log import AccessLog, parse_format
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import RawUpstream, response

Start = Callable[..., Gateway]


def served(gateway: Start, address: str, **http: Any) -> Gateway:
    routes = [{"id": "all", "uri": "/*", "upstream": {"nodes": {address: 1}}}]
    return gateway({"routes": routes}, {"nginx_config": {"http": http}})


def test_a_format_is_cut_into_literals_and_variables() -> None:
    assert len(parse_format("$remote_addr - ${status}x [$time_local] $http_x_a $nothing")) == 9
    assert len(parse_format("no variable at all, 5 $ ")) == 1
    assert parse_format("") == []


def test_an_unknown_escape_is_refused() -> None:
    with pytest.raises(KeyError):
        AccessLog("$status", "html", 0, print)


def test_apisix_default_format(gateway: Start, raw_upstream: Callable[..., RawUpstream]) -> None:
    upstream = raw_upstream()
    server = served(gateway, upstream.address)
    with server.client() as client:
        client.request("GET", "/a?b=c", [("Host", "h.example"), ("Referer", "http://r/"), ("User-Agent", "ua/1.0")])
        client.request("GET", "/a")
    first, second = server.access_log(2).splitlines()
    port = re.escape(upstream.address)
    assert re.fullmatch(
        r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
        r"h\.example \"GET /a\?b=c HTTP/1\.1\" 200 "
        r"\d+ \d\.\d{3} \"http://r/\" \"ua/1\.0\" " + port + r' 200 \d\.\d{3} "http://h\.example/a\?b=c"',
        first,
    )
    assert '"GET /a HTTP/1.1" 200' in second
    assert '"-" "-"' in second


def test_variables_of_the_exchange(gateway: Start, raw_upstream: Callable[..., RawUpstream]) -> None:
    def play(connection: Any) -> None:
        connection.read_request()
        connection.send(response(b"12345", "404 Not Found"))

    upstream = raw_upstream(play)
    fmt = "$status|$body_bytes_sent|$request_method|$uri|$args|$upstream_status|$route_id|$http_x_a|${status}!|$unknown"
    server = served(gateway, upstream.address, access_log_format=fmt)
    with server.client() as client:
        client.request("POST", "/x/../y?z=1", [("X-A", "first"), ("X-A", "second")], b"body")
    assert server.access_log(1).splitlines() == ["404|5|POST|/y|z=1|404|all|first|404!|-"]


@pytest.mark.parametrize("escape", ["default", "json"])
def test_what_a_client_sends_cannot_break_a_line(
    escape: str, gateway: Start, raw_upstream: Callable[..., RawUpstream]
) -> None:
    server = served(
        gateway,
        raw_upstream().address,
        access_log_format='{"agent": "$http_user_agent", "x": "$http_x_evil"}',
        access_log_format_escape=escape,
    )
    evil = 'quote " backslash \\ tab \t umlaut \u00fc'
    with server.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: " + evil.encode() + b"\r\nX-Evil: \\x22\r\n\r\n")
        assert client.read_response().status == 200
    (line,) = server.access_log(1).splitlines()
    if escape == "json":
        assert json.loads(line) == {"agent": evil, "x": "\\x22"}
    else:
        agent = r"quote \x22 backslash \x5C tab \x09 umlaut \xC3\xBC"
        assert line == '{"agent": "' + agent + r'", "x": "\x5Cx22"}'


def test_a_refused_head_and_each_try_of_another(gateway: Start, raw_upstream: Callable[..., RawUpstream]) -> None:
    dead, upstream = f"127.0.0.1:{free_port()}", raw_upstream()
    routes = [{"id": "all", "uri": "/*", "upstream": {"nodes": {dead: 1, upstream.address: 1}}}]
    fmt = "$status|$request|$upstream_addr|$upstream_status|$upstream_response_time"
    server = gateway({"routes": routes}, {"nginx_config": {"http": {"access_log_format": fmt}}})
    with server.client() as client:
        for _ in range(2):
            assert client.request("GET", "/").status == 200
        client.send(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        assert client.read_response().status == 400
    *lines, refused = server.access_log(3).splitlines()
    assert refused == "400|-|-|-|-"
    tried = [line for line in lines if dead in line]
    assert tried
    for line in tried:
        head = re.escape(f"200|GET / HTTP/1.1|{dead}, {upstream.address}|502, 200|")
        assert re.fullmatch(head + r"\d\.\d{3}, \d\.\d{3}", line)
