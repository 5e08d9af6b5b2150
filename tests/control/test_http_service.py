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


async def ask(service: HttpService) -> str:
    async with aiohttp.ClientSession() as session, session.get(service.told.split()[1]) as answer:
        return await answer.text()


def test_it_serves_and_says_where() -> None:
    async def scene() -> None:
        service = HttpService("admin", "the Admin API", app, "127.0.0.1", 0, "/x")
        assert not service.runs
        await service.start()
        assert service.runs
        assert service.told.startswith("admin http://127.0.0.1:")
        assert await ask(service) == "hello"
        await service.stop()
        assert service.fd is None

    asyncio.run(scene())


def test_while_it_pauses_connections_wait() -> None:
    async def scene() -> None:
        service = HttpService("admin", "the Admin API", app, "127.0.0.1", 0, "/x")
        await service.start()
        await service.pause()
        waiting = asyncio.ensure_future(ask(service))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        await service.start()
        assert await asyncio.wait_for(waiting, 5) == "hello"
        await service.stop()

    asyncio.run(scene())


def test_another_s_socket_is_used_if_it_is_the_right_one() -> None:
    async def scene() -> None:
        theirs = socket.create_server(("127.0.0.1", 0))
        port = theirs.getsockname()[1]
        service = HttpService("admin", "the Admin API", app, "127.0.0.1", port, "/x")
        again = theirs.dup()
        assert service.adopt(theirs, ("127.0.0.1", port))
        assert not service.adopt(again, ("127.0.0.1", port)), "two may have kept it"
        assert again.fileno() == -1
        await service.start()
        assert await ask(service) == "hello"
        other = socket.create_server(("127.0.0.1", 0))
        assert not service.adopt(other, ("127.0.0.1", 1))
        assert other.fileno() == -1
        await service.stop()

    asyncio.run(scene())


def test_a_port_in_use_is_told_by_the_server_s_name() -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            service = HttpService("admin", "the Admin API", app, "127.0.0.1", port)
            with pytest.raises(ListenFailed) as caught:
                await service.start()
        assert str(caught.value) == f"cannot listen on 127.0.0.1:{port} for the Admin API: address already in use"

    asyncio.run(scene())
