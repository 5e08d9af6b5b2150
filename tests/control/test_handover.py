import asyncio
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bascule.control.handover import HandoverFailed, HandoverServer, Offer, Taker, address_of


class Old:
    """The old side, and what happened to it."""

    def __init__(self, address: str, sockets: list[tuple[dict[str, Any], int]]) -> None:
        self.events: list[str] = []
        self.happened = asyncio.Event()
        self.server = HandoverServer(
            address,
            lambda: Offer({"pid": os.getpid()}, list(sockets)),
            self.note("released"),
            self.note("resumed"),
            lambda: self.events.append("handed"),
        )

    def note(self, what: str) -> Callable[[], Any]:
        async def noted() -> None:
            self.events.append(what)
            self.happened.set()

        return noted


async def run(address: str, sockets: list[tuple[dict[str, Any], int]], new: Callable[[], None]) -> list[str]:
    """What happened to the old side while `new` ran in a thread."""
    old = Old(address, sockets)
    serving = asyncio.ensure_future(old.server.run())
    await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.to_thread(new), 10)
    if old.events and "handed" not in old.events:
        while old.events[-1] != "resumed":
            old.happened.clear()
            await asyncio.wait_for(old.happened.wait(), 10)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return old.events


def test_sockets_change_hands_and_the_old_one_goes_when_the_new_one_serves() -> None:
    address = address_of(f"/nowhere/{os.getpid()}-{threading.get_ident()}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        received: list[Any] = []

        def new() -> None:
            taker = Taker(address)
            received.append(taker.offer.facts)
            (what, fd), *rest = taker.offer.sockets
            assert len(rest) == 450
            for _, other in rest:
                os.close(other)
            with socket.socket(fileno=fd) as sock:
                received.append((what, sock.getsockname()[1]))
            taker.wait_released()
            taker.ready()

        many = [({"n": n}, listener.fileno()) for n in range(451)]
        assert asyncio.run(run(address, many, new)) == ["released", "handed"]
        assert received == [{"pid": os.getpid()}, ({"n": 0}, port)]


def test_a_new_one_that_dies_gives_the_store_back() -> None:
    address = address_of(f"/nowhere/dies-{os.getpid()}")

    def new() -> None:
        taker = Taker(address)
        taker.wait_released()
        taker._sock.close()

    assert asyncio.run(run(address, [], new)) == ["released", "resumed"]


def test_asking_takes_nothing() -> None:
    address = address_of(f"/nowhere/asks-{os.getpid()}")
    found: list[Any] = []
    assert asyncio.run(run(address, [({}, 0)], lambda: found.append(Taker.ask(address)))) == []
    assert found == [{"pid": os.getpid()}]


def test_nonsense_is_turned_away() -> None:
    address = address_of(f"/nowhere/nonsense-{os.getpid()}")

    def new() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(5)
            sock.connect(address)
            assert sock.recv(64) == b"hello"
            sock.sendall(b"nonsense")
            assert sock.recv(64) == b""

    assert asyncio.run(run(address, [], new)) == []


def test_where_nobody_runs_it_is_said() -> None:
    with pytest.raises(HandoverFailed, match="no gateway runs"):
        Taker(address_of("/nowhere/at/all"))
