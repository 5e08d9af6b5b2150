"""Heads of HTTP/2 responses: which fields go on, and which the gateway adds."""

from collections.abc import Callable, Iterator

import pytest

from tests.servers.gateway import Gateway
from tests.servers.http2 import Answer, Http2Client
from tests.servers.raw import Message, RawConnection, response
from tests.servers.switchboard import Switchboard


@pytest.fixture(scope="module")
def client(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Iterator[Http2Client]:
    rewrite = {"headers": {"set": {"X-Set": "1"}, "remove": ["X-Gone"]}, "status_code": 203}
    routes = [
        {"uri": "/rewritten", "plugins": {"response-rewrite": rewrite}, "upstream": {"nodes": {board.address: 1}}},
        {
            "uri": "/two",
            "upstream": {"nodes": [{"host": "127.0.0.1", "port": 9, "weight": 1000, "priority": 1}, node(board)]},
        },
        {"uri": "/*", "upstream": {"nodes": {board.address: 1}}},
    ]
    config = {"apisix": {"show_upstream_status_in_response_header": True}}
    with Http2Client(module_gateway({"routes": routes}, config).port) as connection:
        yield connection


def node(board: Switchboard) -> dict[str, object]:
    host, _, port = board.address.partition(":")
    return {"host": host, "port": int(port), "weight": 1, "priority": 0}


def names(answer: Answer) -> list[str]:
    return [name for name, _ in answer.headers]


def test_fields_of_the_upstreams_connection_stay_behind(client: Http2Client, board: Switchboard) -> None:
    @board.on("/hop")
    def _(up: RawConnection, head: Message) -> None:
        up.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
            b"Proxy-Connection: a\r\nUpgrade: h2c\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-Kept: \t1 \r\n\r\nok"
        )

    answer = client.get("/hop")
    assert answer.body == b"ok"
    assert names(answer) == [
        ":status", "content-length", "set-cookie", "set-cookie", "x-kept", "server", "date", "x-apisix-upstream-status"
    ]  # fmt: skip
    assert answer.header("x-kept") == "1"


def test_date_and_server(client: Http2Client, board: Switchboard) -> None:
    @board.on("/dated")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(headers=[("Date", "Mon, 01 Jan 2024 00:00:00 GMT"), ("Server", "theirs")]))

    answer = client.get("/dated")
    assert names(answer).count("date") == 1
    assert answer.header("date") == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert (answer.header("server") or "").startswith("Bascule")


def test_what_plugins_do_to_a_response(client: Http2Client, board: Switchboard) -> None:
    @board.on("/rewritten")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(headers=[("X-Gone", "1"), ("X-Set", "0")]))

    answer = client.get("/rewritten")
    assert (answer.status, answer.body) == (203, b"ok")
    assert [pair for pair in answer.headers if pair[0].startswith("x-") and "apisix" not in pair[0]] == [("x-set", "1")]


def test_statuses_of_all_tries(client: Http2Client, board: Switchboard) -> None:
    @board.on("/two")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response())

    assert client.get("/two").header("x-apisix-upstream-status") == "502, 200"


def test_many_fields(client: Http2Client, board: Switchboard) -> None:
    @board.on("/many")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(headers=[(f"X-{i}", "y" * 300) for i in range(100)]))

    answer = client.get("/many")
    assert [value for name, value in answer.headers if name.startswith("x-") and name[2:].isdigit()] == [
        "y" * 300
    ] * 100
