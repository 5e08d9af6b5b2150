"""A worker alone, with this test in the supervisor's place."""

import asyncio
import http.client
import os
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bascule.control.boot import Boot, Socket
from bascule.control.channel import Channel
from bascule.control.configuration import pack
from bascule.control.handover import Offer, address_of, send_offer
from bascule.control.worker_slot import COMMAND
from bascule.engine.in_flight import InFlight
from bascule.engine.load_table import LoadTable
from bascule.engine.shared_counters import SharedCounters
from bascule.model.change import Change
from bascule.model.engine_settings import EngineSettings
from bascule.net.session_cache import SessionCache
from bascule.snapshot.references import Unresolved

UPGRADE_ADDRESS = address_of(f"/nowhere/worker-{os.getpid()}")
NOWHERE = {"nodes": {"127.0.0.1:1": 1}}


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def body(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    content = connection.getresponse().read()
    connection.close()
    return content


def spawn(channel_fd: int, *fds: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, str(channel_fd)], pass_fds=(channel_fd, *fds))


def play(
    script: Callable[[Channel, int], Awaitable[None]],
    tmp_path: Path,
    *steps: list[Change],
    secrets: Mapping[str, str | Unresolved] = MappingProxyType({}),
    **settings: Any,
) -> int:
    """Runs a worker through the script; its exit code."""

    async def run() -> int:
        ours, theirs = socket.socketpair()
        with socket.create_server(("127.0.0.1", 0)) as listener, theirs:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            counters = SharedCounters.create(1 << 16)
            loads = LoadTable.create()
            in_flight = InFlight.create()
            sessions = SessionCache.create()
            process = spawn(theirs.fileno(), listener.fileno(), counters.fd, loads.fd, in_flight.fd, sessions.fd)
            boot = Boot(
                worker_id=0,
                settings=EngineSettings(**{"access_log_path": str(tmp_path / "access.log"), **settings}),
                sockets=(Socket(listener.fileno(), port, False),),
                counters_fd=counters.fd,
                loads_fd=loads.fd,
                in_flight_fd=in_flight.fd,
                sessions_fd=sessions.fd,
                enabled=None,
                user_plugins=(),
                folder=str(tmp_path),
                plugin_attr={},
                error_log=str(tmp_path / "error.log"),
                cpu=None,
                supervisor_pid=os.getpid(),
                upgrade_address=UPGRADE_ADDRESS,
                debug_key=b"key",
                ticket_secret=b"secret",
                generation=1,
                steps=[[pack(change) for change in step] for step in steps],
                secrets=dict(secrets),
            )
            theirs.close()
            channel = await Channel.open(ours)
            try:
                channel.send(boot)
                await asyncio.wait_for(script(channel, port), 30)
            finally:
                channel.close()
                try:
                    code = await asyncio.to_thread(process.wait, 15)
                finally:
                    process.kill()
            return code

    return asyncio.run(run())


async def served(channel: Channel) -> Any:
    """Lets the worker serve; what it says then."""
    assert (await channel.receive())[0] == "loaded"
    channel.send("serve")
    ready = await channel.receive()
    assert ready[0] == "ready"
    return ready


async def drained(channel: Channel) -> None:
    channel.send("drain", 5.0)
    assert [(await channel.receive())[0] for _ in range(2)] == ["refusing", "drained"]


def route(uri: Any) -> Change:
    return Change("routes", "1", {"uri": uri, "upstream": NOWHERE})


def test_it_applies_serves_counts_and_drains(tmp_path: Path) -> None:
    async def script(channel: Channel, port: int) -> None:
        ready = await served(channel)
        assert (ready[0], ready[1], ready[3]) == ("ready", 1, ())
        assert await asyncio.to_thread(get, port, "/a") == 502
        channel.send("changes", 2, [pack(route("/b"))])
        assert (await channel.receive())[:3] == ("applied", 2, ())
        assert await asyncio.to_thread(get, port, "/a") == 404
        channel.send("collect", 0)
        assert (await channel.receive())[-1]["requests"] == 2
        await drained(channel)

    assert play(script, tmp_path, [route("/a")]) == 0
    assert (tmp_path / "access.log").read_text().count("\n") == 2


def test_what_comes_before_the_word_to_serve_is_served_at_once(tmp_path: Path) -> None:
    async def script(channel: Channel, port: int) -> None:
        assert (await channel.receive())[0] == "loaded"
        channel.send("changes", 2, [pack(route("/b"))])
        channel.send("serve")
        assert [(await channel.receive())[:2] for _ in range(2)] == [("applied", 2), ("ready", 2)]
        assert await asyncio.to_thread(get, port, "/b") == 502
        await drained(channel)

    assert play(script, tmp_path, [route("/a")]) == 0


def test_without_its_supervisor_it_never_begins(tmp_path: Path) -> None:
    async def script(channel: Channel, port: int) -> None:
        assert (await channel.receive())[0] == "loaded"

    assert play(script, tmp_path, [route("/a")]) == 0
    assert "serving on" not in (tmp_path / "error.log").read_text()


def test_a_refused_item_after_its_last_good_version(tmp_path: Path) -> None:
    async def script(channel: Channel, port: int) -> None:
        ready = await served(channel)
        assert [(error.kind, error.id) for error in ready[3]] == [("routes", "1")]
        assert await asyncio.to_thread(get, port, "/a") == 502
        await drained(channel)

    assert play(script, tmp_path, [route("/a")], [route(7)]) == 0


def test_secrets_come_before_or_after_what_needs_them(tmp_path: Path) -> None:
    def guarded(key: str) -> Change:
        plugins = {"mocking": {"response_example": f"$secret://vault/1/app/{key}", "response_status": 200}}
        return Change("routes", "1", {"uri": "/", "plugins": plugins})

    async def script(channel: Channel, port: int) -> None:
        ready = await served(channel)
        assert [error.message for error in ready[3]] == ["vault/1 doesn't answer"]
        assert await asyncio.to_thread(get, port, "/") == 503
        channel.send("secrets", 2, {"$secret://vault/1/app/a": "A"})
        assert (await channel.receive())[:4] == ("applied", 2, (), ())
        assert await asyncio.to_thread(body, port, "/") == b"A"
        channel.send("secrets", 3, {"$secret://vault/1/app/b": "B"})
        channel.send("changes", 4, [pack(guarded("b"))])
        assert [(await channel.receive())[:4] for _ in range(2)] == [("applied", 3, (), ()), ("applied", 4, (), ())]
        assert await asyncio.to_thread(body, port, "/") == b"B"
        channel.send("gc")
        channel.send("secrets", 5, {"$secret://vault/1/app/b": Unresolved("vault has no b")})
        assert [error.message for error in (await channel.receive())[3]] == ["vault has no b"]
        assert await asyncio.to_thread(get, port, "/") == 503
        await drained(channel)

    secrets = {"$secret://vault/1/app/a": Unresolved("vault/1 doesn't answer")}
    assert play(script, tmp_path, [guarded("a")], secrets=secrets) == 0


def test_without_its_supervisor_it_ends_once_another_gateway_serves(tmp_path: Path) -> None:
    async def script(channel: Channel, port: int) -> None:
        await served(channel)

    def answer(successor: socket.socket) -> None:
        with successor.accept()[0] as asking:
            asking.sendall(b"hello")
            assert asking.recv(64) == b"tell"
            send_offer(asking, Offer({"listening": []}))

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as successor:
        successor.bind(UPGRADE_ADDRESS)
        successor.listen(1)
        answering = threading.Thread(target=answer, args=(successor,))
        answering.start()
        assert play(script, tmp_path) == 0
        answering.join(10)
    log = (tmp_path / "error.log").read_text()
    assert "the supervisor is gone" in log
    assert "another gateway serves" in log


def test_a_log_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    async def script(channel: Channel, port: int) -> None:
        try:
            await channel.receive()
        except EOFError:
            return
        raise AssertionError("it should have ended")

    assert play(script, tmp_path, access_log_path="/proc/nothing/a.log") == 1
    log = (tmp_path / "error.log").read_text()
    assert "crit worker 0" in log
    assert "Traceback" not in log
