"""Workers of a killed supervisor serve on, and go when another one serves."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bascule.control.handover import HandoverServer, Offer, address_of
from bascule.control.orphans import mark_serving, orphans_gone, there_are_orphans, wait_for_successor
from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx


def test_marks_of_other_supervisors_workers_are_found_by_configuration() -> None:
    mine, other = (address_of(f"/nowhere/orphans-{os.getpid()}-{name}") for name in "ab")
    assert not there_are_orphans(mine)
    with mark_serving(mine):  # this process' parent is another supervisor
        assert there_are_orphans(mine)
        assert not there_are_orphans(other)
        assert not asyncio.run(orphans_gone(mine, 0.05))
    assert asyncio.run(orphans_gone(mine, 0.05))


def test_waiting_for_nobody_ends() -> None:
    assert asyncio.run(wait_for_successor(address_of(f"/nowhere/nobody-{os.getpid()}"), 0.1)) is None


def test_a_successor_tells_which_sockets_it_listens_on() -> None:
    async def nothing() -> None:
        raise AssertionError("nobody asked for it")

    async def scene() -> None:
        address = address_of(f"/nowhere/successor-{os.getpid()}")
        found = asyncio.ensure_future(wait_for_successor(address, 30))
        await asyncio.sleep(0)
        server = HandoverServer(address, lambda: Offer({"listening": [1, 2]}), nothing, nothing, lambda: None)
        serving = asyncio.ensure_future(server.run())
        assert await found == {1, 2}
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(scene())


def test_no_request_fails_when_the_supervisor_is_killed_and_started_again(
    gateway: Callable[..., Gateway], nginx: Callable[[str], Nginx]
) -> None:
    upstream = nginx("location / { return 200 'ok'; }")
    nodes = {"type": "roundrobin", "nodes": {upstream.address: 1}}
    server = gateway({"routes": [{"id": 1, "uri": "/*", "upstream": nodes}]}, workers=2)
    wrong: list[Any] = []
    answers = 0
    end = threading.Event()

    def ask() -> None:
        nonlocal answers
        while not end.is_set():
            try:
                with server.client() as client:
                    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    status = client.read_response().status
                    answers += 1
            except Exception as error:
                wrong.append(repr(error))
            else:
                if status != 200:
                    wrong.append(status)

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    orphans = server.worker_pids()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.popen.wait(5)
    server.restart()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in orphans) and time.monotonic() < deadline:
        time.sleep(0.02)
    end.set()
    for client in clients:
        client.join(20)
    assert wrong == []
    assert answers > 50
    assert not any(Path(f"/proc/{pid}").exists() for pid in orphans)
