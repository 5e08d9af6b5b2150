"""The client's side end to end: bodies, trailers, interim responses, HTTP/1.0, pipelining, early answers."""

import threading
from collections.abc import Callable

import pytest

from tests.servers.gateway import Gateway
from tests.servers.raw import Message, RawClient, RawConnection, response
from tests.servers.switchboard import Switchboard, body_of

SIZE = 20_000_000
BLOCK = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    timeout = {"connect": 2, "send": 3, "read": 1}
    upstream = {"nodes": {board.address: 1}, "timeout": timeout}
    routes = [
        {
            "id": "filtered",
            "uri": "/filtered/*",
            "plugins": {"response-rewrite": {"filters": [{"regex": "hello", "replace": "bye"}]}},
            "upstream": upstream,
        },
        {"id": "all", "uri": "/*", "upstream": {**upstream, "timeout": {**timeout, "read": 5}}},
    ]
    config = {"nginx_config": {"http": {"client_max_body_size": "0"}}}
    return module_gateway({"routes": routes}, config)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_is_streamed_while_the_upstream_stalls(
    chunked: bool, served: Gateway, client: RawClient, board: Switchboard
) -> None:
    go = threading.Event()
    bodies: list[bytes] = []

    @board.on("/upload")
    def _(up: RawConnection, head: Message) -> None:
        assert go.wait(10)
        assert (head.header("Transfer-Encoding") == "chunked") is chunked
        got = bytearray(up.buffer)
        up.buffer = b""
        while len(got) < len(wire) and (more := up.sock.recv(262144)):
            got += more
        bodies.append(bytes(got))
        up.send(response(b"stored"))

    data = (BLOCK * (SIZE // len(BLOCK) + 1))[:SIZE]
    if chunked:
        wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in pieces(data, 123_457)) + b"0\r\n\r\n"
        framing = b"Transfer-Encoding: chunked"
    else:
        wire, framing = data, b"Content-Length: %d" % SIZE
    before = served.resident_bytes()
    client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
    sender = threading.Thread(target=client.sock.sendall, args=(wire,))
    sender.start()
    sender.join(0.3)
    assert sender.is_alive()
    assert served.resident_bytes() - before < 4_000_000
    go.set()
    assert client.read_response().body == b"stored"
    sender.join(10)
    assert bodies[0] == wire  # chunked bodies keep their chunks


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_response_waits_for_a_stalled_client(chunked: bool, served: Gateway, board: Switchboard) -> None:
    sent = threading.Event()

    @board.on("/download")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\n")
        up.send(b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n" % (300 * 65536))
        for _ in range(300):
            up.send(b"10000\r\n" + BLOCK + b"\r\n" if chunked else BLOCK)
        if chunked:
            up.send(b"0\r\n\r\n")
        sent.set()

    before = served.resident_bytes()
    with served.client(receive_buffer=16384) as client:
        client.send(b"GET /download HTTP/1.1\r\nHost: a\r\n\r\n")
        client.read_until(b"\r\n\r\n")
        assert not sent.wait(0.3)
        assert served.resident_bytes() - before < 4_000_000
        client.buffer = b"HTTP/1.1 200 OK\r\n\r\n" + client.buffer
        total = 0
        client.read_head()
        while total < 300 * 65536:
            if chunked:
                size = int(client.read_until(b"\r\n"), 16)
                assert len(client.read_exactly(size + 2)) == size + 2
                total += size
            else:
                total += len(client.read_some())
        assert sent.wait(5)


def test_trailers_pass_both_ways(client: RawClient, board: Switchboard) -> None:
    requests: list[Message] = []

    @board.on("/trailers")
    def _(up: RawConnection, head: Message) -> None:
        requests.append(body_of(up, head))
        up.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n",
        )

    for _ in range(2):
        client.send(
            b"POST /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"3\r\nabc\r\n",
            b"0\r\nX-End: 7\r\n",
            b"\r\n",
        )
        answer = client.read_response()
        assert (answer.body, answer.trailers) == (b"hello", [("X-Sum", "42")])
        assert (requests[-1].body, requests[-1].trailers) == (b"abc", [("X-End", "7")])


def test_trailers_of_a_response_that_is_chunked_anew_stay(client: RawClient, board: Switchboard) -> None:
    @board.on("/filtered/trailers")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        for byte in b"0\r\nX-Sum: 42 \r\nX-More:\r\n\r\n":
            up.send(bytes([byte]))

    @board.on("/filtered/none")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")

    for _ in range(2):
        client.send(b"GET /filtered/trailers HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.read_response()
        assert (answer.body, answer.trailers) == (b"bye", [("x-sum", "42"), ("x-more", "")])
        client.send(b"GET /filtered/none HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.read_response()
        assert (answer.body, answer.trailers) == (b"bye", [])


EXPECT = b"POST %b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"


def test_expect_goes_to_the_upstream_and_its_100_comes_back(client: RawClient, board: Switchboard) -> None:
    @board.on("/expect")
    def _(up: RawConnection, head: Message) -> None:
        assert head.header("Expect") == "100-continue"
        up.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        up.send(response(up.read_exactly(5)))

    for _ in range(2):
        client.send(EXPECT % b"/expect")
        assert client.read_response(informational=True).status == 100
        client.send(b"hello")
        assert client.read_response(informational=True).body == b"hello"


def test_a_final_status_instead_of_100_ends_the_connection(client: RawClient, board: Switchboard) -> None:
    """Whether the body still comes, only the client knows: nothing after the answer may be taken for a request."""

    @board.on("/expect-refused")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(b"no", "417 Expectation Failed"))
        assert up.is_closed()

    client.send(EXPECT % b"/expect-refused")
    answer = client.read_response(informational=True)
    assert (answer.status, answer.body) == (417, b"no")
    assert answer.header("Connection") == "close"
    assert client.is_closed(timeout_s=3)


def test_interim_responses_pass(client: RawClient, board: Switchboard) -> None:
    @board.on("/hints")
    def _(up: RawConnection, head: Message) -> None:
        up.send(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n" + response(b"x")
        )

    client.send(b"GET /hints HTTP/1.1\r\nHost: a\r\n\r\n")
    first = client.read_response(informational=True)
    assert (first.status, first.header("Link")) == (103, "</a.css>")
    assert client.read_response(informational=True).status == 102
    assert client.read_response().body == b"x"
    client.send(b"GET /hints HTTP/1.0\r\nHost: a\r\n\r\n")  # HTTP/1.0 knows no interim responses
    assert client.read_response(informational=True).status == 200


def test_responses_without_a_body_keep_the_connection_in_step(client: RawClient, board: Switchboard) -> None:
    @board.on("/status")
    def _(up: RawConnection, head: Message) -> None:
        status = head.target.partition("?")[2]
        length = b"" if status.startswith("204") else b"Content-Length: 1000\r\n"
        up.send(b"HTTP/1.1 " + status.encode() + b" X\r\n" + length + b"\r\n")

    for _ in range(2):
        answer = client.request("HEAD", "/status?200")
        assert (answer.status, answer.header("Content-Length")) == (200, "1000")
        assert client.request("GET", "/status?204").status == 204
        answer = client.request("GET", "/status?304")
        assert (answer.status, answer.header("Content-Length")) == (304, "1000")


def test_head_of_a_chunked_or_unframed_response(client: RawClient, board: Switchboard) -> None:
    @board.on("/head-chunked")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    @board.on("/head-bare")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\n\r\n")

    for _ in range(2):
        assert client.request("HEAD", "/head-chunked").status == 200
        assert client.request("HEAD", "/head-bare").status == 200
    assert client.buffer == b""


def test_an_early_answer_while_the_upstream_reads_on(client: RawClient, board: Switchboard) -> None:
    @board.on("/early")
    def _(up: RawConnection, head: Message) -> None:
        up.read_exactly(5)
        up.send(response(b"early"))
        assert up.read_exactly(5) == b"67890"

    for _ in range(2):
        client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        assert client.read_response().body == b"early"
        client.send(b"67890")
    assert board.hits["/early"] == 2


def test_an_early_answer_of_an_upstream_that_closes(client: RawClient, board: Switchboard) -> None:
    """The rest of the body is read and dropped; never is it taken for a request."""

    @board.on("/early-close")
    def _(up: RawConnection, head: Message) -> None:
        up.read_exactly(5)
        up.send(response(b"too large", "413 Content Too Large", [("Connection", "close")]))
        up.close()

    @board.on("/smuggled")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(b"smuggled"))

    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    body = smuggled * 3000
    for n in (1, 3000):
        client.send(
            b"POST /early-close HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n12345" % (5 + len(smuggled) * n)
        )
        answer = client.read_response()
        assert (answer.status, answer.body) == (413, b"too large")
        client.send(body[: len(smuggled) * n])
    client.send(b"POST /early-close HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345")
    assert client.read_response().status == 413
    assert "/smuggled" not in board.hits


def test_an_answer_in_the_midst_of_a_torrent(served: Gateway, board: Switchboard) -> None:
    """The upstream answers and closes while megabytes are under way: its reset must not take its answer with it."""

    @board.on("/torrent")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(b"enough", "413 Content Too Large"))
        up.close()

    for _ in range(5):
        with served.client() as client:
            client.send(b"POST /torrent HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n")
            sender = threading.Thread(target=client.sock.sendall, args=(b"GET /torrent HTTP/1.1\r\n" * 173_914,))
            sender.start()
            answer = client.read_response()
            assert (answer.status, answer.body) == (413, b"enough")
            sender.join(10)
            assert client.buffer == b""


def test_pipelined_posts_are_answered_in_order(client: RawClient, board: Switchboard) -> None:
    @board.on("/pipe")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(body_of(up, head).body))

    plain = b"".join(
        b"POST /pipe HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(b"n%d" % i), b"n%d" % i)
        + b"POST /pipe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nc%d\r\n0\r\n\r\n" % (i % 10)
        for i in range(200)
    )
    sender = threading.Thread(target=client.sock.sendall, args=(plain,))
    sender.start()
    for i in range(200):
        assert client.read_response().body == b"n%d" % i
        assert client.read_response().body == b"c%d" % (i % 10)
    sender.join(5)


def test_http10_clients(served: Gateway, board: Switchboard) -> None:
    @board.on("/chunks")
    def _(up: RawConnection, head: Message) -> None:
        assert head.first_line.endswith("HTTP/1.1")
        up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"3\r\ndef\r\n0\r\nX: y\r\n\r\n")

    @board.on("/ten")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(b"ten"))

    with served.client() as client:
        client.send(b"GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = client.read_response()
        assert answer.body == b"abcdef"  # dechunked, its end told by the close
        assert answer.header("Transfer-Encoding") is None
        assert answer.header("Connection") == "close"
    with served.client() as client:
        client.send(b"GET /ten HTTP/1.0\r\n\r\n")
        answer = client.read_response()
        assert (answer.body, answer.header("Connection")) == (b"ten", "close")
        assert client.is_closed()
    with served.client() as client:
        for _ in range(3):
            client.send(b"GET /ten HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = client.read_response()
            assert (answer.body, (answer.header("Connection") or "").lower()) == (b"ten", "keep-alive")
