"""What an upstream may do wrong: answers that could be read in two ways, that end early, that never come. The client
gets 502 or 504, or a cut connection once the head has passed; never a response it could take for whole."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.servers.raw import Closed, RawConnection, RawUpstream, answers, response

OK = b"HTTP/1.1 200 OK\r\n"
GARBAGE = {
    "not-http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "http09": b"hello\r\n\r\n",
    "version": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "lower-version": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no-status": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "status-two-digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status-four-digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status-too-small": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "leading-blank": b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "control-in-reason": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
    "cl-te": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "cl-differs": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "cl-minus": OK + b"Content-Length: -1\r\n\r\n",
    "cl-plus": OK + b"Content-Length: +5\r\n\r\nhello",
    "cl-word": OK + b"Content-Length: five\r\n\r\nhello",
    "cl-empty": OK + b"Content-Length:\r\n\r\n",
    "cl-overflow": OK + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    "te-not-final": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "te-unknown": OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "te-twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "blank-before-colon": OK + b"Content-Length : 0\r\n\r\n",
    "fold": OK + b"X-A: 1\r\n Content-Length: 0\r\n\r\n",
    "bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare-cr": OK + b"X-A: 1\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    "nul": OK + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "no-colon": OK + b"X-A\r\nContent-Length: 0\r\n\r\n",
    "no-name": OK + b": x\r\nContent-Length: 0\r\n\r\n",
    "endless-head": OK + b"X-A: 1\r\n" * 100_000,
    "unasked-upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "many-fields": OK + b"X-A: 1\r\n" * 200 + b"\r\n",
    "long-field": OK + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "interim-flood": b"HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n" * 10_000,
    "continue-flood": b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    "interim-flood-and-more": b"HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n" * 2_000 + response(b"late"),
    "status-600": b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    "name-with-blank": OK + b"X A: 1\r\nContent-Length: 0\r\n\r\n",
    "cl-twice": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "te-http10": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk-size": OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "chunk-overflow": OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "closed-at-once": b"",
    "closed-in-head": OK + b"Content-Len",
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    """Answers with the garbage that the path names, then closes."""

    def play(connection: RawConnection) -> None:
        connection.send(GARBAGE[connection.read_request().target.rpartition("/")[2]])

    server = RawUpstream(play)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def served(upstream: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    return module_gateway(route_to(upstream.address))


def route_to(address: str, **more: object) -> dict[str, object]:
    return {"routes": [{"id": "all", "uri": "/*", "upstream": {"nodes": {address: 1}, "retries": 0, **more}}]}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_502_and_the_client_connection_lives_on(name: str, served: Gateway) -> None:
    with served.client() as client:
        for _ in range(2):
            answer = client.request("GET", f"/{name}")
            assert answer.status == 502
            assert answer.header("X-A") is None


def test_a_body_cut_short_is_never_passed_off_as_whole(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    def short(connection: RawConnection) -> None:
        connection.read_request()
        connection.send(OK + b"Content-Length: 10\r\n\r\nhello")

    def short_chunked(connection: RawConnection) -> None:
        connection.read_request()
        connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")

    def bad_chunk(connection: RawConnection) -> None:
        connection.read_request()
        connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n0\r\n\r\n")

    upstream = raw_upstream(short, short_chunked, bad_chunk)
    server = gateway(route_to(upstream.address))
    for _ in range(2):
        with server.client() as client, pytest.raises((Closed, ConnectionError)):
            client.request("GET", "/")
    with server.client() as client:  # told from the first bytes, before anything went out
        assert client.request("GET", "/").status == 502


def test_a_reset_within_the_body_is_never_passed_off_as_whole(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    """However the end of the body would have been told. An orderly close of an unframed body is its end, there is no
    other (RFC 9112, section 8)."""
    heads = (
        b"Content-Length: 200000\r\n\r\n" + b"x" * 100_000,
        b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n" + b"x" * 100_000 + b"\r\n",
        b"\r\n" + b"x" * 100_000,
    )

    def resets(head: bytes) -> Callable[[RawConnection], None]:
        def play(connection: RawConnection) -> None:
            connection.read_request()
            connection.send(OK + head)
            gone.wait(5)
            connection.reset()

        return play

    gone = threading.Event()
    upstream = raw_upstream(*map(resets, heads))
    server = gateway(route_to(upstream.address))
    for _ in heads:
        gone.clear()
        with server.client() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.read_head().status == 200
            client.read_until(b"x" * 1000)
            gone.set()
            assert not client.read_to_end().endswith(b"0\r\n\r\n")


def test_a_dribbled_head_has_the_read_timeout_as_a_whole_and_interim_responses_extend_it(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    pause = threading.Event()

    def dribbles(connection: RawConnection) -> None:
        connection.read_request()
        for byte in OK + b"X: " + b"a" * 100:
            connection.send(bytes([byte]))
            pause.wait(0.1)

    def works(connection: RawConnection) -> None:
        connection.read_request()
        for _ in range(6):
            pause.wait(0.3)
            connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        connection.send(response(b"done"))

    upstream = raw_upstream(dribbles, works)
    server = gateway(route_to(upstream.address, timeout={"connect": 1, "send": 1, "read": 1}))
    with server.client() as client:
        started = time.monotonic()
        assert client.request("GET", "/").status == 504
        assert time.monotonic() - started < 3
        assert client.request("GET", "/").body == b"done"


def test_a_frozen_upstream_is_504_and_the_others_serve(
    gateway: Callable[..., Gateway], nginx: Callable[[str], Nginx]
) -> None:
    """SIGSTOP: its kernel accepts, it never answers. A GET goes on to the next node, within the retries."""
    frozen, alive = nginx("location / { return 200 'frozen'; }"), nginx("location / { return 200 'alive'; }")
    timeout = {"connect": 1, "send": 1, "read": 0.5}
    routes = [
        {"id": "1", "uri": "/one", "upstream": {"nodes": {frozen.address: 1}, "timeout": timeout}},
        {"id": "2", "uri": "/two", "upstream": {"nodes": {frozen.address: 1, alive.address: 1}, "timeout": timeout}},
    ]
    server = gateway({"routes": routes})
    with server.client() as client:
        assert client.request("GET", "/one").body == b"frozen"
        for pid in frozen.pids():
            os.kill(pid, signal.SIGSTOP)
        try:
            assert client.request("GET", "/one").status == 504
            assert {client.request("GET", "/two").body for _ in range(4)} == {b"alive"}
        finally:
            for pid in frozen.pids():
                os.kill(pid, signal.SIGCONT)
        assert client.request("GET", "/one").body == b"frozen"


def test_an_answer_to_head_with_a_body_does_not_stay_in_the_pool(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    upstream = raw_upstream(
        answers(response(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")), answers(response(b"good"))
    )
    server = gateway(route_to(upstream.address))
    with server.client() as client:
        assert client.request("HEAD", "/").status == 200
        for _ in range(3):
            assert client.request("GET", "/").body == b"good"


def test_more_than_the_promised_body_never_reaches_the_next_client(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    """Response splitting by a broken upstream: what follows a complete response is dropped with its connection."""
    evil = response(b"ok") + response(b"evil")
    upstream = raw_upstream(answers(evil), answers(response(b"good")))
    server = gateway(route_to(upstream.address))
    with server.client() as client:
        assert client.request("GET", "/").body == b"ok"
        for _ in range(3):
            assert client.request("GET", "/").body == b"good"


def test_no_listener_is_502_and_silence_is_504(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    def silent(connection: RawConnection) -> None:
        connection.read_request()
        connection.read_to_end()

    upstream = raw_upstream(silent)
    timeout = {"connect": 1, "send": 1, "read": 0.5}
    routes = [
        {"id": "none", "uri": "/none", "upstream": {"nodes": {f"127.0.0.1:{free_port()}": 1}, "retries": 0}},
        {
            "id": "silent",
            "uri": "/silent",
            "upstream": {"nodes": {upstream.address: 1}, "retries": 0, "timeout": timeout},
        },
    ]
    server = gateway({"routes": routes})
    with server.client() as client:
        for path, status in (("/none", 502), ("/silent", 504)):
            answer = client.request("GET", path)
            assert answer.status == status
            assert answer.header("X-APISIX-Upstream-Status") == str(status)


def test_the_status_of_every_try_is_told(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    dead = {f"127.0.0.1:{free_port()}": 1 for _ in range(2)}
    one = raw_upstream(answers(response(b"busy", "503 Busy")))
    routes = [
        {"id": "dead", "uri": "/dead", "upstream": {"nodes": dead}},
        {"id": "busy", "uri": "/busy", "upstream": {"nodes": {next(iter(dead)): 1000, one.address: 1}}},
        {"id": "none", "uri": "/none", "upstream": {"nodes": {}}},
        {"id": "plugin", "uri": "/plugin", "plugins": {"fault-injection": {"abort": {"http_status": 503}}}},
    ]
    server = gateway({"routes": routes})
    expected = {"/dead": (502, "502, 502"), "/busy": (503, "502, 503"), "/none": (503, None), "/plugin": (503, None)}
    with server.client() as client:
        for path, told in expected.items():
            answer = client.request("GET", path)
            assert (answer.status, answer.header("X-APISIX-Upstream-Status")) == told


def test_a_stale_pooled_connection_is_replaced_without_the_client_noticing(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    """An upstream that closes after each answer, with keep-alive promised: the race that every proxy meets."""

    def once(connection: RawConnection) -> None:
        connection.read_request()
        connection.send(response(b"one"))

    upstream = raw_upstream(once)
    server = gateway(route_to(upstream.address))
    with server.client() as client:
        for _ in range(50):
            assert client.request("GET", "/").status == 200


def test_the_next_node_is_tried_when_one_is_down(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    upstream = raw_upstream()
    nodes = {f"127.0.0.1:{free_port()}": 1, upstream.address: 1}
    server = gateway({"routes": [{"id": "all", "uri": "/*", "upstream": {"nodes": nodes}}]})
    with server.client() as client:
        assert {client.request("GET", "/").status for _ in range(10)} == {200}
