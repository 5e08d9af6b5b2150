import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bascule.control.abstract_names import abstract_names
from bascule.control.handover import Offer, address_of
from bascule.control.keeper import Keeper, left_behind

STAND_IN = str(Path(__file__).with_name("keeper_stand_in.py"))


@pytest.fixture
def address(tmp_path: Path) -> str:
    return address_of(tmp_path / "config.yaml")


@pytest.fixture
def supervisor(address: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """One that has its socket kept, and its port."""
    process = subprocess.Popen([sys.executable, STAND_IN, address[1:]], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, int(process.stdout.readline())
    process.kill()
    process.wait(10)
    process.stdout.close()
    for taker in left_behind(address):
        for _, fd in taker.offer.sockets:
            os.close(fd)
        taker.ready()
    until_nobody_keeps(address)


def until_nobody_keeps(address: str) -> None:
    deadline = time.monotonic() + 10
    while abstract_names(f"{address}-kept-"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def until_refused(port: int) -> None:
    """A process that ends closes what it has one after the other."""
    deadline = time.monotonic() + 10
    with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
        while True:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            assert time.monotonic() < deadline


def test_a_killed_supervisor_s_socket_is_there_for_the_next(
    supervisor: tuple[subprocess.Popen[str], int], address: str
) -> None:
    process, port = supervisor
    assert left_behind(address) == [], "nothing is given away while it lives"
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"hello")
        (first,) = left_behind(address)
        (what, fd), facts = first.offer.sockets[0], first.offer.facts
        assert (what, facts) == ({"what": "listener"}, {"pid": process.pid})
        os.close(fd)
        first.close()  # it didn't come to serve
        (second,) = left_behind(address)
        with socket.socket(fileno=second.offer.sockets[0][1]) as listener:
            second.ready()
            until_nobody_keeps(address)
            with listener.accept()[0] as accepted:
                assert accepted.recv(5) == b"hello"
    until_refused(port)


def test_it_is_started_again_and_ends_in_good_order(address: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(listener: socket.socket) -> None:
        keeper = Keeper(address, lambda: Offer({}, [({}, listener.fileno())]))
        keeper.start()
        assert await keeper.holds(30)
        first = keeper.pid
        assert first is not None
        os.kill(first, signal.SIGTERM)  # is not for it to act on
        keeper.changed()
        assert await keeper.holds(30)
        assert keeper.pid == first
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(30):
            while keeper.pid in (first, None):  # noqa: ASYNC110 (what is waited for lies in another process)
                await asyncio.sleep(0.01)
        assert await keeper.holds(30)
        await keeper.end()
        assert repr(keeper) == "<keeper pid=None>"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        asyncio.run(scene(listener))
    assert abstract_names(f"{address}-kept-") == []
    assert "was killed by signal 9; starting it again" in caplog.text
    until_refused(port)


def test_one_that_can_not_be_started_is_told(
    address: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        keeper = Keeper(address, lambda: Offer({}))
        keeper.start()
        assert not await keeper.holds(0.3)
        await keeper.end()

    asyncio.run(scene())
    assert "can't be started: no such file or directory; starting it again" in caplog.text
