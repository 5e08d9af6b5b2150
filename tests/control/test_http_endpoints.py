import asyncio
import socket
from typing import Any

import pytest
from aiohttp import ClientSession

from bascule.control.http_endpoints import Exporter, StatusServer, serve
from bascule.control.listening import ListenFailed


def test_status_answers_as_apisix_does() -> None:
    reason: str | None = None

    async def ask() -> list[tuple[int, Any]]:
        nonlocal reason
        server = StatusServer(lambda: reason, lambda: {"generation": 7})
        runner, port = await serve(server.app(), "127.0.0.1", 0, "the status server")
        answers = []
        async with ClientSession(f"http://127.0.0.1:{port}") as client:
            for path in ("/status", "/status/ready", "/status/details", "/other"):
                async with client.get(path) as answer:
                    answers.append((answer.status, await answer.json() if answer.status == 200 else None))
            reason = "worker 1 has not received the configuration"
            async with client.get("/status/ready") as answer:
                answers.append((answer.status, await answer.json()))
        await runner.cleanup()
        return answers

    ok = {"status": "ok"}
    assert asyncio.run(ask()) == [
        (200, ok),
        (200, ok),
        (200, {"generation": 7}),
        (404, None),
        (503, {"status": "error", "error": "worker 1 has not received the configuration"}),
    ]


def test_the_exporter_speaks_prometheus_text_format() -> None:
    async def collect() -> bytes:
        return b"x 1\n"

    async def ask() -> tuple[str, bytes]:
        runner, port = await serve(Exporter("/m", collect).app(), "127.0.0.1", 0, "the metrics server")
        async with ClientSession() as client, client.get(f"http://127.0.0.1:{port}/m") as answer:
            found = answer.headers["Content-Type"], await answer.read()
        await runner.cleanup()
        return found

    assert asyncio.run(ask()) == ("text/plain; version=0.0.4; charset=utf-8", b"x 1\n")


def test_a_port_in_use_is_one_line() -> None:
    async def start(port: int) -> None:
        await serve(StatusServer(lambda: None, dict).app(), "127.0.0.1", port, "the status server")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenFailed) as caught:
            asyncio.run(start(port))
    assert str(caught.value) == f"cannot listen on 127.0.0.1:{port} for the status server: address already in use"
