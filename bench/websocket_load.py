"""python -m bench.websocket_load echo PORT | load PORT CONNECTIONS SECONDS: an echo server and its client, which do so
little that the gateway between them is what is busy.

All messages are one and the same frame, masked with zeros, so that neither end has to look at a payload: both count
bytes, and the server answers so many whole frames with as many frames of its own.
"""

import selectors
import socket
import sys
import time

SIZE = 128
PAYLOAD = b"x" * SIZE
FROM_CLIENT = b"\x82\xfe" + SIZE.to_bytes(2, "big") + bytes(4) + PAYLOAD
FROM_SERVER = b"\x82\x7e" + SIZE.to_bytes(2, "big") + PAYLOAD
HANDSHAKE = (
    b"GET /p0/ws HTTP/1.1\r\nHost: h0.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Peer:
    """One connection: bytes of a frame that isn't whole yet."""

    __slots__ = ("have", "sock", "started")

    def __init__(self, sock: socket.socket, started: bool) -> None:
        self.sock = sock
        self.started = started
        self.have = 0


def echo(port: int) -> None:
    """Serves for ever."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    selector = selectors.EpollSelector()
    selector.register(listener, selectors.EVENT_READ)
    size = len(FROM_CLIENT)
    while True:
        for key, _ in selector.select():
            peer: Peer | None = key.data
            if peer is None:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(sock, selectors.EVENT_READ, Peer(sock, False))
                continue
            try:
                data = peer.sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                selector.unregister(peer.sock)
                peer.sock.close()
            elif not peer.started:
                peer.started = True  # a handshake comes whole, and alone: the client waits for its answer
                peer.sock.sendall(AGREED)
            else:
                frames, peer.have = divmod(peer.have + len(data), size)
                if frames:
                    peer.sock.sendall(FROM_SERVER * frames)


def connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(HANDSHAKE)
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(4096)
        if not data:
            raise ConnectionError("closed within the handshake")
        head += data
    if b" 101 " not in head.split(b"\r\n", 1)[0]:
        raise ConnectionError(f"no WebSocket: {head!r}")
    return sock


def load(port: int, connections: int, seconds: float) -> tuple[int, float]:
    """(messages that came back, seconds), one message in flight on each connection."""
    selector = selectors.EpollSelector()
    for _ in range(connections):
        sock = connected(port)
        selector.register(sock, selectors.EVENT_READ, Peer(sock, True))
        sock.sendall(FROM_CLIENT)
    size = len(FROM_SERVER)
    messages = 0
    began = now = time.monotonic()
    while now - began < seconds:
        for key, _ in selector.select(1):
            peer: Peer = key.data
            data = peer.sock.recv(65536)
            if not data:
                raise ConnectionError("closed while messages were on their way")
            frames, peer.have = divmod(peer.have + len(data), size)
            if frames:
                if peer.have or not data.endswith(PAYLOAD):
                    raise ConnectionError(f"another message came back: {data!r}")
                messages += frames
                peer.sock.sendall(FROM_CLIENT * frames)
        now = time.monotonic()
    for key in list(selector.get_map().values()):
        key.data.sock.close()
    return messages, now - began


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(int(sys.argv[2]))
    else:
        print(*load(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
