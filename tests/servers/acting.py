"""An upstream node that fails on demand: each request is answered by the next act of a list, then by `usual`."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable

from tests.servers.raw import Message, RawConnection, RawUpstream, response

Act = Callable[[RawConnection, Message], None]


def ok(connection: RawConnection, request: Message) -> None:
    """Says which port answered, how many bytes of body came, and for the method HEAD nothing."""
    text = f"{connection.sock.getsockname()[1]} {len(request.body)}".encode()
    connection.send(response(b"" if request.method == "HEAD" else text))


def status(code: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Act:
    pairs = tuple(headers)
    return lambda connection, request: connection.send(response(body, f"{code} Told", pairs))


def reset(connection: RawConnection, request: Message) -> None:
    connection.reset()


def close(connection: RawConnection, request: Message) -> None:
    connection.close()


def garbage(connection: RawConnection, request: Message) -> None:
    connection.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    connection.close()


def reset_in_head(connection: RawConnection, request: Message) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    time.sleep(0.1)  # a reset overtakes what the peer hasn't read
    connection.reset()


def reset_in_body(connection: RawConnection, request: Message) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    time.sleep(0.1)
    connection.reset()


def silent(connection: RawConnection, request: Message) -> None:
    """Never answers; ends when the peer gives up."""
    connection.is_closed()
    connection.close()


def slow(seconds: float) -> Act:
    def act(connection: RawConnection, request: Message) -> None:
        time.sleep(seconds)
        ok(connection, request)

    return act


class ActingNode:
    """`seen` holds every request that came whole, in order."""

    def __init__(self, usual: Act = ok, *, port: int = 0):
        self.usual = usual
        self.acts: list[Act] = []
        self.seen: list[Message] = []
        self._lock = threading.Condition()
        self.upstream = RawUpstream(self._play, port=port)
        self.address = self.upstream.address
        self.port = self.upstream.port

    def _play(self, connection: RawConnection) -> None:
        while connection.sock.fileno() != -1:
            request = connection.read_request()
            with self._lock:
                self.seen.append(request)
                act = self.acts.pop(0) if self.acts else self.usual
                self._lock.notify_all()
            act(connection, request)

    def wait_seen(self, n: int, timeout_s: float = 10) -> None:
        """Returns once n requests have come."""
        with self._lock:
            if not self._lock.wait_for(lambda: len(self.seen) >= n, timeout_s):
                raise TimeoutError(f"{len(self.seen)} requests after {timeout_s} s, not {n}")

    def play(self, *acts: Act) -> None:
        """What the next requests meet, on connections of their own; what has come is forgotten."""
        for connection in self.upstream.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self.acts = list(acts)
            self.seen = []

    def stop(self) -> None:
        self.upstream.stop()
