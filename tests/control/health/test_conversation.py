import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bascule.control.health.conversation import LARGEST, Conversation, TooMuch
from tests.control.health.asked import probe
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream


def talk(address: str, *addresses: str) -> bytes:
    """All that the server says until it ends."""

    async def run() -> bytes:
        opened = await Conversation.open(probe(address), addresses or ["127.0.0.1"], None)
        with opened as conversation:
            conversation.send(b"hello")
            said = b""
            while more := await asyncio.wait_for(conversation.more(), 20):
                said += more
            assert "over" in repr(conversation)
            return said

    return asyncio.run(run())


def test_what_comes_until_the_end(raw_upstream: Callable[..., RawUpstream]) -> None:
    def script(connection: RawConnection) -> None:
        assert connection.read_exactly(5) == b"hello"
        connection.send(b"one", b"two")

    assert talk(raw_upstream(script).address) == b"onetwo"


def test_an_answer_is_bounded(raw_upstream: Callable[..., RawUpstream]) -> None:
    upstream = raw_upstream(lambda connection: connection.send(b"x" * (LARGEST * 4)))
    with pytest.raises(TooMuch):
        talk(upstream.address)


def test_a_reset_is_an_error(raw_upstream: Callable[..., RawUpstream]) -> None:
    def script(connection: RawConnection) -> None:
        connection.read_exactly(5)
        connection.reset()

    with pytest.raises(ConnectionResetError):
        talk(raw_upstream(script).address)


def greet(connection: RawConnection) -> None:
    connection.read_exactly(5)
    connection.send(b"here")


def test_the_first_address_that_takes_it_is_used(raw_upstream: Callable[..., RawUpstream]) -> None:
    upstream = raw_upstream(greet)
    assert talk(upstream.address, "127.9.9.9", "127.0.0.1") == b"here"
    with pytest.raises(ConnectionRefusedError):
        talk(f"127.0.0.1:{free_port()}", "127.0.0.1", "127.9.9.9")


def test_unix_sockets(raw_upstream: Callable[..., RawUpstream], tmp_path: Path) -> None:
    upstream = raw_upstream(greet, unix=str(tmp_path / "s"))
    assert talk(upstream.address) == b"here"


def test_its_end_closes_the_connection_at_once(raw_upstream: Callable[..., RawUpstream]) -> None:
    ended = threading.Event()

    def script(connection: RawConnection) -> None:
        connection.read_to_end()
        ended.set()

    upstream = raw_upstream(script)

    async def run() -> None:
        with await Conversation.open(probe(upstream.address), ["127.0.0.1"], None) as conversation:
            conversation.send(b"hello")
        assert await asyncio.to_thread(ended.wait, 20)

    asyncio.run(run())
