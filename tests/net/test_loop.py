"""asyncio on the engine's selector: timers, sockets, threads, subprocesses, signals work as on any loop."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from bascule.net.loop import new_loop


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop, _ = new_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_timers_are_in_order_and_in_time(loop: asyncio.AbstractEventLoop) -> None:
    fired: list[int] = []

    async def main() -> None:
        for n in (3, 1, 2):
            loop.call_later(n / 100, fired.append, n)
        await asyncio.sleep(0.05)

    started = time.monotonic()
    loop.run_until_complete(main())
    assert fired == [1, 2, 3]
    assert 0.049 < time.monotonic() - started < 10


def test_a_timeout_cancels(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        async with asyncio.timeout(0.02):
            await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        loop.run_until_complete(main())


def test_streams(loop: asyncio.AbstractEventLoop) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(-1))
        writer.close()
        await writer.wait_closed()

    async def main() -> bytes:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x" * 5_000_000)
            await writer.drain()
            writer.write_eof()
            data = await reader.read(-1)
            writer.close()
            await writer.wait_closed()
            return data

    assert loop.run_until_complete(main()) == b"x" * 5_000_000


def test_many_sockets_at_once(loop: asyncio.AbstractEventLoop) -> None:
    async def one(number: int) -> bytes:
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        try:
            receive = asyncio.ensure_future(loop.sock_recv(left, 10))
            await asyncio.sleep(0)
            await loop.sock_sendall(right, b"%d" % number)
            return await receive
        finally:
            left.close()
            right.close()

    async def main() -> list[bytes]:
        return await asyncio.gather(*(one(n) for n in range(200)))

    assert loop.run_until_complete(main()) == [b"%d" % n for n in range(200)]


def test_a_reader_and_a_writer_of_one_descriptor(loop: asyncio.AbstractEventLoop) -> None:
    left, right = socket.socketpair()
    events: list[str] = []

    async def main() -> None:
        done = asyncio.Event()
        loop.add_reader(left, lambda: (events.append("read"), left.recv(10), done.set()))
        loop.add_writer(left, lambda: (events.append("write"), loop.remove_writer(left), right.send(b"x")))
        await asyncio.wait_for(done.wait(), 5)
        assert loop.remove_reader(left)
        right.send(b"y")
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())
    assert events == ["write", "read"]
    left.close()
    right.close()


def test_threads_wake_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> int:
        return await loop.run_in_executor(None, lambda: 42)

    started = time.monotonic()
    assert loop.run_until_complete(main()) == 42
    assert time.monotonic() - started < 10


def test_a_subprocess(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> tuple[bytes, int | None]:
        code = "import sys; print(sys.stdin.read()[::-1])"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate(b"abc")
        return out, process.returncode

    asyncio.set_event_loop(loop)
    try:
        assert loop.run_until_complete(main()) == (b"cba\n", 0)
    finally:
        asyncio.set_event_loop(None)


def test_signals(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        done = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, done.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(done.wait(), 5)
        loop.remove_signal_handler(signal.SIGUSR1)

    loop.run_until_complete(main())


def test_a_closed_descriptor_may_be_unregistered(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        loop.add_reader(left.fileno(), lambda: None)
        fd = left.fileno()
        left.close()
        loop.remove_reader(fd)
        right.close()

    loop.run_until_complete(main())
