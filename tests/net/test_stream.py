"""Streams under all conditions a socket can make: byte by byte, floods, readers that pause."""

import threading
from collections.abc import Callable

from tests.servers.gateway import Gateway
from tests.servers.raw import RawConnection, RawUpstream, response

DATA = bytes(range(256)) * 8000


def test_bytes_arrive_whole_and_in_order(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    """The same 2 MB up and down: in one piece, in uneven ones, and with a reader that pauses on either side."""

    def mirror(connection: RawConnection) -> None:
        while True:
            head = connection.read_head()
            length = int(head.header("content-length") or 0)
            body = bytearray()
            while len(body) < length:
                body += connection.read_some()
                connection.received = b""
            connection.send(response(bytes(body)))

    upstream = raw_upstream(mirror)
    server = gateway({"routes": [{"id": "all", "uri": "/*", "upstream": {"nodes": {upstream.address: 1}}}]})
    with server.client(receive_buffer=8192) as client:
        for step in (len(DATA), 65_537, 1_461):

            def feed(step: int = step) -> None:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(DATA))
                for at in range(0, len(DATA), step):
                    client.send(DATA[at : at + step])

            sender = threading.Thread(target=feed)
            sender.start()
            sender.join(10)
            assert client.read_head().status == 200
            got = bytearray()
            while len(got) < len(DATA):
                got += client.read_some()
                client.received = b""
            assert got == DATA
        for byte in b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
            client.send(bytes([byte]))
        assert client.read_response().body == b"abc"
