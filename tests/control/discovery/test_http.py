import asyncio
import ssl
from typing import Any

import pytest

from bascule.control.discovery import http as module
from bascule.control.discovery.http import Answer, DiscoveryFailure, Http, HttpRefused, place
from tests.servers.ports import free_port
from tests.servers.web import JsonServer


class Registry(JsonServer):
    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.headers: list[dict[str, str]] = []
        super().__init__(tls)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.headers.append(headers)
        if path == "/lines":
            return 200, b'{"a":1}\n\n{"b":2}\n{"rest"'
        if path == "/long":
            return 200, b"x" * 5000
        return (200, {"body": body.decode()}) if path.startswith("/ok") else (404, {})


@pytest.fixture
def registry():
    server = Registry()
    yield server
    server.stop()


def play(script, **options):
    async def run():
        http = Http(**options)
        try:
            return await asyncio.wait_for(script(http), 20)
        finally:
            await http.close()

    return asyncio.run(run())


def test_an_answer(registry):
    async def script(http):
        answer = await http.ask(f"{registry.url}/ok", "POST", params={"q": "a b"}, form={"x": "1"}, keepalive=False)
        assert (answer.status, answer.json("it")) == (200, {"body": "x=1"})
        assert (await http.ask(f"{registry.url}/none")).status == 404

    play(script)
    assert registry.requests[0] == ("POST", "/ok?q=a+b")
    assert registry.headers[0]["connection"] == "close"


def test_a_server_gets_no_crowd_of_connections(registry, monkeypatch):
    monkeypatch.setattr(module, "PER_HOST", 3)

    async def script(http):
        answers = await asyncio.gather(*(http.ask(f"{registry.url}/ok") for _ in range(30)))
        return {answer.status for answer in answers}

    assert play(script) == {200}
    assert len(registry.connections) <= 3


def test_user_and_password_of_the_url(registry):
    play(lambda http: http.ask(f"http://me:pass%40word@127.0.0.1:{registry.port}/ok"))
    assert registry.headers[0]["authorization"] == "Basic bWU6cGFzc0B3b3Jk"
    assert place("http://me:pass@host:1/a?token=x") == "http://host:1/a"


def test_failures_are_sentences(registry):
    port = free_port()
    with pytest.raises(DiscoveryFailure, match=rf"http://127.0.0.1:{port}/x can't be asked: connection refused"):
        play(lambda http: http.ask(f"http://127.0.0.1:{port}/x"))
    with pytest.raises(DiscoveryFailure, match="it answers with what is no JSON"):
        Answer(200, {}, b"<html>").json("it")


def test_who_is_trusted(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.cert, certificates.server.key)
    server = Registry(context)

    async def script(http):
        return (await http.ask(f"{server.url}/ok", total_s=20)).status

    try:
        assert play(script, trusted=str(certificates.ca.cert)) == 200
        with pytest.raises(DiscoveryFailure, match="its certificate isn't trusted"):
            play(script)
        with pytest.raises(DiscoveryFailure, match="/none can't be used: No such file"):
            play(script, trusted="/none")
    finally:
        server.stop()


def test_an_answer_has_limits(registry, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(DiscoveryFailure, match="answers with more than 1000 bytes"):
        play(lambda http: http.ask(f"{registry.url}/long"))


def test_a_server_that_keeps_still(raw_upstream):
    server = raw_upstream(lambda peer: (peer.read_head(), peer.read_to_end()))
    with pytest.raises(DiscoveryFailure, match="doesn't answer in time"):
        play(lambda http: http.ask(f"http://{server.address}/", total_s=0.2))

    async def silent(http):
        async for _ in http.lines(f"http://{server.address}/", most_s=0.2):
            pass

    with pytest.raises(DiscoveryFailure, match="doesn't answer in time"):
        play(silent)


def test_lines(registry, monkeypatch):
    async def lines(http, path):
        return [line async for line in http.lines(f"{registry.url}{path}")]

    assert play(lambda http: lines(http, "/lines")) == [b'{"a":1}', b'{"b":2}']
    with pytest.raises(HttpRefused, match="/none answers 404") as refused:
        play(lambda http: lines(http, "/none"))
    assert refused.value.answer.status == 404
    monkeypatch.setattr(module, "MAX_LINE", 1000)
    with pytest.raises(DiscoveryFailure, match="line of more than 1000 bytes"):
        play(lambda http: lines(http, "/long"))
