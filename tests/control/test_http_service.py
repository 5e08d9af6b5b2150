import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web

from bascule.control.http_service import HttpService
from bascule.control.listening import ListenFailed


def app() -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    made = web.Application()
    made.router.add_get("/x", hello)
    return made


def test_it_serves_and_says_where() -> None:
    async def scene() -> None:
        service = HttpService("admin", "the Admin API", app, "127.0.0.1", 0, "/apisix/admin")
        runner, port = await service.start()
        try:
            assert service.told(port) == f"admin http://127.0.0.1:{port}/apisix/admin"
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/x") as answer:
                assert await answer.text() == "hello"
        finally:
            await runner.cleanup()

    asyncio.run(scene())


def test_a_port_in_use_is_told_by_the_server_s_name() -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            service = HttpService("admin", "the Admin API", app, "127.0.0.1", taken.getsockname()[1])
            with pytest.raises(ListenFailed, match=r"for the Admin API: address already in use"):
                await service.start()

    asyncio.run(scene())
