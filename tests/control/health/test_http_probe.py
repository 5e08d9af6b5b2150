from collections.abc import Callable

import pytest

from bascule.balance.node_health import Outcome
from bascule.control.health.questioner import Result
from tests.control.health.asked import ask, probe
from tests.servers.raw import RawConnection, RawUpstream

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def result(upstream: Callable[..., RawUpstream], *parts: bytes, end: bool = True) -> Result:
    """Of a probe whose answer these bytes are, sent apart."""

    def script(connection: RawConnection) -> None:
        connection.read_request()
        connection.send(*parts)
        if not end:
            connection.read_to_end()

    return ask(probe(upstream(script).address))


@pytest.mark.parametrize(
    "parts",
    [
        (HEAD,),
        (b"HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n",),
        (b"HTTP/1.1 200\r\n\r\n",),
        (b"HTTP/1.1 200 OK\n\n",),
        (b"H", b"TTP/1.1 20", b"0 OK\r", b"\nA: b\r\n\r", b"\n"),
        tuple(bytes([byte]) for byte in b"HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nC: d\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", HEAD),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"body that nobody waits for",),
    ],
)
def test_good_answers(raw_upstream: Callable[..., RawUpstream], parts: tuple[bytes, ...]) -> None:
    # The connection is still open: the end of the head is enough.
    assert result(raw_upstream, *parts, end=False) == Result(Outcome.SUCCESS, "success")


def test_a_body_of_announced_length(raw_upstream: Callable[..., RawUpstream]) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"
    assert result(raw_upstream, head, b"abc", b"def", end=False).outcome == Outcome.SUCCESS
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"
    assert result(raw_upstream, long + b"abc", end=False).outcome == Outcome.SUCCESS
    assert result(raw_upstream, head.replace(b"200", b"304"), end=False).reason == "status 304 is in neither list"
    cut = result(raw_upstream, head + b"abc")
    assert (cut.outcome, cut.reason) == (Outcome.TCP_FAILURE, "the answer was cut after 3 of 6 bytes")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("500 Oh", Result(Outcome.HTTP_FAILURE, "http_failure", "status 500")),
        ("404 Not Found", Result(Outcome.HTTP_FAILURE, "http_failure", "status 404")),
        ("301 Moved", Result(None, "ignored", "status 301 is in neither list")),
        ("101 Switching", Result(None, "ignored", "status 101 is in neither list")),
    ],
)
def test_other_statuses(raw_upstream: Callable[..., RawUpstream], status: str, expected: Result) -> None:
    assert result(raw_upstream, f"HTTP/1.1 {status}\r\n\r\n".encode(), end=False) == expected


@pytest.mark.parametrize(
    "parts",
    [
        (b"SSH-2.0-OpenSSH_9\r\n",),
        (b"\x00\x01\x02",),
        (b"HTTP/2.0 200 OK\r\n\r\n",),
        (b"HTTP/1.1 2000 OK\r\n\r\n",),
        (b"HTTP/1.1  200 OK\r\n\r\n",),
        (b"HTTP/1.1 OK\r\n\r\n",),
        (b"HTTP/1.1 099 x\r\n\r\n",),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + HEAD,),
    ],
)
def test_answers_that_are_none(raw_upstream: Callable[..., RawUpstream], parts: tuple[bytes, ...]) -> None:
    found = result(raw_upstream, *parts, end=False)
    assert (found.outcome, found.kind) == (Outcome.HTTP_FAILURE, "malformed")
    assert found.reason.startswith("the answer ")


@pytest.mark.parametrize("parts", [(), (b"HTTP/1.1 200 OK\r\n",)])
def test_answers_that_are_cut(raw_upstream: Callable[..., RawUpstream], parts: tuple[bytes, ...]) -> None:
    found = result(raw_upstream, *parts)
    assert (found.outcome, found.kind) == (Outcome.TCP_FAILURE, "tcp_failure")
    assert found.reason in ("the connection closed before an answer came", "the answer was cut")


def test_the_whole_request_arrives(raw_upstream: Callable[..., RawUpstream]) -> None:
    upstream = raw_upstream(lambda connection: connection.send(response_to(connection)))

    def response_to(connection: RawConnection) -> bytes:
        message = connection.read_request()
        good = (message.method, message.target, message.body) == ("POST", "/up?x", b"are you there")
        return HEAD if good and message.header("host") == "me.test" else b"HTTP/1.1 500 No\r\n\r\n"

    active = {"http_method": "POST", "http_path": "/up?x", "http_req_body": "are you there", "host": "me.test"}
    assert ask(probe(upstream.address, active)).outcome is Outcome.SUCCESS
