"""Peers that speak raw bytes: an upstream that plays a script, and a client that reads what really came back.

Both block with short timeouts and know just enough HTTP/1.1 to cut messages apart; they judge nothing.
"""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

TIMEOUT_S = 10.0


@dataclass
class Message:
    """One HTTP message as received: first line, headers in their order, body with the chunk framing taken off."""

    first_line: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    head: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header `name`, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def status(self) -> int:
        return int(self.first_line.split(" ", 2)[1])

    @property
    def method(self) -> str:
        return self.first_line.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.first_line.split(" ")[1]

    def json(self) -> object:
        return json.loads(self.body)


class Closed(Exception):
    """The peer closed the connection before the message was whole; `.received` is what came."""

    def __init__(self, received: bytes):
        super().__init__(f"closed after {received[:200]!r}")
        self.received = received


class RawConnection:
    """A connected socket with the few moves that scripts need."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.sock.settimeout(TIMEOUT_S)
        self.buffer = b""
        self.received = b""

    def send(self, *parts: bytes) -> None:
        """Sends each part in a segment of its own, as far as TCP keeps them apart."""
        for part in parts:
            self.sock.sendall(part)

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self.received += data
        self.buffer += data
        return bool(data)

    def read_until(self, marker: bytes) -> bytes:
        """Bytes up to and with `marker`."""
        while marker not in self.buffer:
            if not self._more():
                raise Closed(self.buffer)
        end = self.buffer.index(marker) + len(marker)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    def read_exactly(self, n: int) -> bytes:
        while len(self.buffer) < n:
            if not self._more():
                raise Closed(self.buffer)
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_some(self) -> bytes:
        """What is there, at least one byte; empty at the peer's end."""
        if not self.buffer:
            self._more()
        data, self.buffer = self.buffer, b""
        return data

    def read_to_end(self) -> bytes:
        """Everything up to the peer's close (or reset)."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while self._more():
                pass
        data, self.buffer = self.buffer, b""
        return data

    def read_head(self) -> Message:
        head = self.read_until(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return Message(first, headers, head=head)

    def _read_chunked(self, message: Message) -> None:
        while size := int(self.read_until(b"\r\n").split(b";")[0], 16):
            message.body += self.read_exactly(size)
            self.read_exactly(2)
        while (line := self.read_until(b"\r\n")) != b"\r\n":
            name, _, value = line.decode("latin-1").partition(":")
            message.trailers.append((name, value.strip()))

    def read_request(self) -> Message:
        """A request with its body."""
        message = self.read_head()
        if "chunked" in (message.header("transfer-encoding") or "").lower():
            self._read_chunked(message)
        else:
            message.body = self.read_exactly(int(message.header("content-length") or 0))
        return message

    def read_response(self, method: str = "GET", *, informational: bool = False) -> Message:
        """A response with its body; 1xx heads are skipped unless `informational` asks for them."""
        while True:
            message = self.read_head()
            if message.status >= 200 or message.status == 101:
                break
            if informational:
                return message
        if method == "HEAD" or message.status in (101, 204, 304):
            return message
        if "chunked" in (message.header("transfer-encoding") or "").lower():
            self._read_chunked(message)
        elif (length := message.header("content-length")) is not None:
            message.body = self.read_exactly(int(length))
        else:
            message.body = self.read_to_end()
        return message

    def is_closed(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Whether the peer closed within `timeout_s` without sending more."""
        if self.buffer:
            return False
        self.sock.settimeout(timeout_s)
        try:
            return not self._more()
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        finally:
            self.sock.settimeout(TIMEOUT_S)

    def shutdown_write(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Closes with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class RawClient(RawConnection):
    """A client connection to `port`; use as a context manager."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, receive_buffer: int | None = None):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(TIMEOUT_S)
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock)

    @classmethod
    def unix(cls, path: str) -> "RawClient":
        client = cls.__new__(cls)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        RawConnection.__init__(client, sock)
        return client

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def request(self, method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Message:
        """Sends a plain request on this connection (Host and Content-Length unless given) and reads the answer."""
        given = list(headers)
        names = {name.lower() for name, _ in given}
        if "host" not in names:
            given.insert(0, ("Host", "localhost"))
        if body and not names & {"content-length", "transfer-encoding"}:
            given.append(("Content-Length", str(len(body))))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given) + "\r\n"
        self.send(head.encode("latin-1") + body)
        return self.read_response(method)


Script = Callable[[RawConnection], None]


def answers(*responses: bytes) -> Script:
    """A script that reads one request for each of `responses` and answers with it; the last one goes on for ever."""

    def play(connection: RawConnection) -> None:
        for response in responses:
            connection.read_request()
            connection.send(response)
        while True:
            connection.read_request()
            connection.send(responses[-1])

    return play


def response(body: bytes = b"ok", status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The bytes of a response with a Content-Length."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


def echo(connection: RawConnection) -> None:
    """A script that answers each request with a JSON account of it: method, target, headers (pairs), body, trailers."""
    while True:
        request = connection.read_request()
        account = {
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "body": request.body.decode("latin-1"),
            "trailers": request.trailers,
            "port": connection.sock.getsockname()[1],
        }
        body = json.dumps(account).encode()
        connection.send(
            response(b"" if request.method == "HEAD" else body, headers=[("Content-Type", "application/json")])
        )


def echoed(body: bytes) -> Message:
    """The request that an `echo` tells of."""
    told = json.loads(body)
    headers = [(name, value) for name, value in told["headers"]]
    return Message(f"{told['method']} {told['target']}", headers, told["body"].encode("latin-1"))


class RawUpstream:
    """A TCP server. Each connection plays a script in its own thread: the first connection the first script, and so on;
    the last script serves all further connections. A script ends quietly when its peer goes away.

    `connections` holds every connection in order of arrival (with `.received`), `requests_seen` all their bytes joined.
    What a script raises otherwise is raised by `stop`.
    """

    def __init__(
        self,
        *scripts: Script,
        host: str = "127.0.0.1",
        port: int = 0,
        unix: str | None = None,
        tls: ssl.SSLContext | None = None,
    ):
        self.tls = tls
        self.scripts = scripts or (echo,)
        self.connections: list[RawConnection] = []
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Condition()
        self._stopping = False
        if unix:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(unix)
            self.port = 0
            self.address = f"unix:{unix}"
        else:
            self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((host, port))
            self.port = self.listener.getsockname()[1]
            self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.listener.listen(512)
        self._acceptor = threading.Thread(target=self._accept, name="raw-upstream", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            connection = RawConnection(sock)
            with self._lock:
                script = self.scripts[min(len(self.connections), len(self.scripts) - 1)]
                self.connections.append(connection)
                self._lock.notify_all()
            thread = threading.Thread(target=self._play, args=(script, connection), name="raw-script", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, script: Script, connection: RawConnection) -> None:
        try:
            if self.tls is not None:
                connection.sock = self.tls.wrap_socket(connection.sock, server_side=True)
            script(connection)
        except (Closed, ConnectionError, TimeoutError, ssl.SSLError):
            pass
        except OSError:
            if not self._stopping and connection.sock.fileno() != -1:
                raise
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            with contextlib.suppress(OSError):
                connection.close()

    @property
    def requests_seen(self) -> bytes:
        return b"".join(connection.received for connection in self.connections)

    def wait_connections(self, n: int, timeout_s: float = TIMEOUT_S) -> None:
        """Returns once `n` connections have arrived."""
        with self._lock:
            if not self._lock.wait_for(lambda: len(self.connections) >= n, timeout_s):
                raise TimeoutError(f"{len(self.connections)} connections after {timeout_s} s, not {n}")

    def stop(self) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._acceptor.join(TIMEOUT_S)
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        for connection in self.connections:
            connection.close()
        if self.failures:
            raise self.failures[0]
