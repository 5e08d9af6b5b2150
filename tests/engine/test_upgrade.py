"""Upgrades and the tunnels they become: bytes both ways, the end of either side, silence."""

import threading
from collections.abc import Callable

import pytest

from tests.servers.gateway import Gateway
from tests.servers.raw import Message, RawClient, RawConnection, response
from tests.servers.switchboard import Switchboard

SIZE = 20_000_000
BLOCK = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    upstream = {"nodes": {board.address: 1}, "timeout": {"connect": 2, "send": 3, "read": 1}}
    routes = [
        {"id": "ws", "uri": "/ws/*", "enable_websocket": True, "upstream": upstream},
        {"id": "plain", "uri": "/plain", "upstream": upstream},
    ]
    return module_gateway({"routes": routes})


def upgrade(path: str, behind: bytes = b"") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode() + behind


SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def test_a_tunnel_carries_bytes_both_ways(client: RawClient, board: Switchboard) -> None:
    heads: list[Message] = []

    @board.on("/ws/both")
    def _(up: RawConnection, head: Message) -> None:
        heads.append(head)
        up.send(SWITCH + b"hello")  # a frame right behind the head
        assert up.read_exactly(5) == b"early"
        for _ in range(20):
            up.send(up.read_exactly(4)[::-1])
        assert up.is_closed()

    client.send(upgrade("/ws/both", b"early"))
    answer = client.read_head()
    assert answer.status == 101
    assert answer.header("Upgrade") == "websocket"
    assert (answer.header("Connection") or "").lower() == "upgrade"
    assert answer.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert client.read_exactly(5) == b"hello"
    for i in range(20):
        client.send(b"%04d" % i)
        assert client.read_exactly(4) == (b"%04d" % i)[::-1]
    assert heads[0].header("Upgrade") == "websocket"
    assert (heads[0].header("Connection") or "").lower() == "upgrade"
    assert heads[0].header("Sec-WebSocket-Key") == "dGhlIHNhbXBsZSBub25jZQ=="


def test_a_tunnel_ends_when_the_upstream_closes_and_nothing_is_lost(client: RawClient, board: Switchboard) -> None:
    @board.on("/ws/close")
    def _(up: RawConnection, head: Message) -> None:
        up.send(SWITCH)
        for _ in range(80):
            up.send(BLOCK)
        up.close()

    client.send(upgrade("/ws/close"))
    assert client.read_head().status == 101
    assert client.read_exactly(80 * len(BLOCK)) == BLOCK * 80
    assert client.is_closed()


def test_large_transfers_through_a_tunnel_wait_for_the_slower_side(
    served: Gateway, client: RawClient, board: Switchboard
) -> None:
    go = threading.Event()
    received = bytearray()
    over = threading.Event()

    @board.on("/ws/large")
    def _(up: RawConnection, head: Message) -> None:
        up.send(SWITCH)
        assert go.wait(10)
        while len(received) < SIZE:
            received.extend(up.sock.recv(262144))
        over.set()
        for _ in range(SIZE // len(BLOCK)):
            up.send(BLOCK)

    client.send(upgrade("/ws/large"))
    assert client.read_head().status == 101
    before = served.resident_bytes()
    data = (BLOCK * (SIZE // len(BLOCK) + 1))[:SIZE]
    sender = threading.Thread(target=client.sock.sendall, args=(data,))
    sender.start()
    sender.join(0.3)
    assert sender.is_alive()  # the upstream does not read: the client waits
    assert served.resident_bytes() - before < 4_000_000
    go.set()
    sender.join(10)
    assert over.wait(10)
    assert received == data
    got = bytearray(client.buffer)
    while len(got) < SIZE // len(BLOCK) * len(BLOCK):
        got += client.sock.recv(262144)
    assert got == BLOCK * (SIZE // len(BLOCK))


def test_traffic_of_one_direction_keeps_a_tunnel_open(client: RawClient, board: Switchboard) -> None:
    """The read timeout is 1 s, the pushes come faster, and then only the client talks."""
    pause = threading.Event()

    @board.on("/ws/push")
    def _(up: RawConnection, head: Message) -> None:
        up.send(SWITCH)
        for _ in range(8):
            pause.wait(0.25)
            up.send(b"push")
        up.read_exactly(8 * 4)
        up.send(b"done")

    client.send(upgrade("/ws/push"))
    assert client.read_head().status == 101
    assert client.read_exactly(32) == b"push" * 8
    for _ in range(8):
        pause.wait(0.25)
        client.send(b"back")
    assert client.read_exactly(4) == b"done"


def test_a_silent_tunnel_is_closed_after_the_read_timeout(client: RawClient, board: Switchboard) -> None:
    @board.on("/ws/silent")
    def _(up: RawConnection, head: Message) -> None:
        up.send(SWITCH)
        up.read_to_end()

    client.send(upgrade("/ws/silent"))
    assert client.read_head().status == 101
    assert client.is_closed(timeout_s=4)


def test_an_upgrade_that_the_upstream_refuses_is_a_plain_exchange(client: RawClient, board: Switchboard) -> None:
    @board.on("/ws/refused")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(b"no", "403 Forbidden"))

    for _ in range(2):
        client.send(upgrade("/ws/refused"))
        answer = client.read_response()
        assert (answer.status, answer.body) == (403, b"no")


def test_without_enable_websocket_an_upgrade_is_a_plain_request(client: RawClient, board: Switchboard) -> None:
    heads: list[Message] = []

    @board.on("/plain")
    def _(up: RawConnection, head: Message) -> None:
        heads.append(head)
        up.send(response(b"plain"))

    client.send(upgrade("/plain"))
    assert client.read_response().body == b"plain"
    assert heads[0].header("Upgrade") is None
    assert heads[0].header("Connection") is None
