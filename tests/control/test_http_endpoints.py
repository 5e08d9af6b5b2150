import asyncio
from typing import Any

from aiohttp import ClientSession

from bascule.control.http_endpoints import Exporter, StatusServer
from bascule.control.http_service import HttpService


def test_status_answers_as_apisix_does() -> None:
    reason: str | None = None

    async def ask() -> list[tuple[int, Any]]:
        nonlocal reason
        server = StatusServer(lambda: reason, lambda: {"generation": 7})
        service = HttpService("status", "the status server", server.app, "127.0.0.1", 0)
        await service.start()
        answers = []
        async with ClientSession(service.told.split()[1]) as client:
            for path in ("/status", "/status/ready", "/status/details", "/other"):
                async with client.get(path) as answer:
                    answers.append((answer.status, await answer.json() if answer.status == 200 else None))
            reason = "worker 1 has not received the configuration"
            async with client.get("/status/ready") as answer:
                answers.append((answer.status, await answer.json()))
        await service.stop()
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
        service = HttpService("metrics", "the metrics server", Exporter("/m", collect).app, "127.0.0.1", 0, "/m")
        await service.start()
        async with ClientSession() as client, client.get(service.told.split()[1]) as answer:
            found = answer.headers["Content-Type"], await answer.read()
        await service.stop()
        return found

    assert asyncio.run(ask()) == ("text/plain; version=0.0.4; charset=utf-8", b"x 1\n")
