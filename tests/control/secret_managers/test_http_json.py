import asyncio
import socket
from typing import Any

import pytest
from aiohttp import ClientSession

from bascule.control.secret_managers import http_json
from bascule.control.secret_managers.http_json import exchange
from bascule.control.secret_managers.manager import SecretFailure
from tests.servers.ports import free_port
from tests.servers.web import JsonServer


class Server(JsonServer):
    body: Any = b""

    def answer(self, method, path, headers, body):
        return 200, self.body


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


def ask(url):
    async def run():
        async with ClientSession() as session:
            return await exchange(session, "it", "GET", url)

    return asyncio.run(run())


def test_json_or_none(server):
    server.body = {"a": 1}
    assert ask(server.url) == (200, {"a": 1})
    server.body = b"no json"
    assert ask(server.url) == (200, None)


def test_too_much(server, monkeypatch):
    server.body = b"x" * 2000
    monkeypatch.setattr(http_json, "MAX_BYTES", 1000)
    with pytest.raises(SecretFailure, match="it answers with more than 1000 bytes"):
        ask(server.url)


def test_nobody_there():
    with pytest.raises(SecretFailure, match=r"^it doesn't answer: connection refused$"):
        ask(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SecretFailure, match=r"^it doesn't answer: .*"):
        ask("http://no-such-host.invalid/")
    with pytest.raises(SecretFailure, match=r"^it doesn't answer"):
        ask("nonsense")


def test_no_http_and_no_answer(monkeypatch):
    monkeypatch.setattr(http_json, "TIMEOUT", http_json.ClientTimeout(total=0.2))
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(SecretFailure, match="it doesn't answer in time"),
    ):
        ask(f"http://127.0.0.1:{silent.getsockname()[1]}")
