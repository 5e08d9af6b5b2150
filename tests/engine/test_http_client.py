import asyncio
import json
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bascule.engine.http_client import AiohttpClient
from bascule.plugin.host import HttpAnswer, HttpClientError
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream, answers, response

Upstreams = Callable[..., RawUpstream]


def run(work: Callable[[AiohttpClient], Awaitable[Any]], **options: Any) -> Any:
    async def go() -> Any:
        client = AiohttpClient(**options)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(go())


def request(url: str, method: str = "GET", **options: Any) -> HttpAnswer:
    answer: HttpAnswer = run(lambda client: client.request(method, url, **options))
    return answer


def test_request_and_answer(raw_upstream: Upstreams) -> None:
    upstream = raw_upstream()
    headers = [("X-A", "1"), ("X-A", "2"), ("Content-Type", "text/x")]
    answer = request(f"http://{upstream.address}/p?q=%2F", "POST", headers=headers, body=b"body")
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    seen = json.loads(answer.body)
    assert (seen["method"], seen["target"], seen["body"]) == ("POST", "/p?q=%2F", "body")
    assert [value for name, value in seen["headers"] if name == "X-A"] == ["1", "2"]
    names = {name.lower() for name, _ in seen["headers"]}
    assert names == {"host", "x-a", "content-type", "content-length", "user-agent", "accept"}


def test_no_body_has_no_type(raw_upstream: Upstreams) -> None:
    upstream = raw_upstream()
    answer = request(f"http://{upstream.address}/", headers={"User-Agent": "mine"})
    seen = dict(json.loads(answer.body)["headers"])
    assert "Content-Type" not in seen
    assert seen["User-Agent"] == "mine"


def test_answers_come_as_they_are(raw_upstream: Upstreams) -> None:
    pairs = [("Location", "/other"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Encoding", "gzip")]
    upstream = raw_upstream(answers(response(b"\x1f\x8bnot really", "302 Found", pairs)))
    answer = request(f"http://{upstream.address}/")
    assert (answer.status, answer.body) == (302, b"\x1f\x8bnot really")
    assert [value for name, value in answer.headers if name == "Set-Cookie"] == ["a=1", "b=2"]


def test_connections_are_kept_and_cookies_are_not(raw_upstream: Upstreams) -> None:
    upstream = raw_upstream(answers(response(b"", headers=[("Set-Cookie", "a=1")])))

    async def work(client: AiohttpClient) -> None:
        for _ in range(3):
            await client.request("GET", f"http://{upstream.address}/")

    run(work)
    assert len(upstream.connections) == 1
    assert b"Cookie:" not in upstream.requests_seen


def test_environment_proxies_are_not_used(raw_upstream: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert request(f"http://{raw_upstream().address}/").status == 200


def test_time_runs_out(raw_upstream: Upstreams) -> None:
    def silent(connection: RawConnection) -> None:
        connection.read_request()
        connection.read_some()

    upstream = raw_upstream(silent)
    with pytest.raises(HttpClientError, match=r"no answer within 0\.1 s"):
        request(f"http://{upstream.address}/", timeout_s=0.1)


@pytest.mark.parametrize("garbage", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"])
def test_broken_answers(raw_upstream: Upstreams, garbage: bytes) -> None:
    def play(connection: RawConnection) -> None:
        connection.read_request()
        connection.send(garbage)
        connection.close()

    with pytest.raises(HttpClientError, match="GET http://"):
        request(f"http://{raw_upstream(play).address}/")


def test_refused_and_unknown() -> None:
    for url in (f"http://127.0.0.1:{free_port()}/", "http://does-not-exist.invalid/", "nonsense", "http://"):
        with pytest.raises(HttpClientError):
            request(url)


def test_bad_header_is_an_error(raw_upstream: Upstreams) -> None:
    with pytest.raises(HttpClientError):
        request(f"http://{raw_upstream().address}/", headers=[("X-A", "a\r\nX-B: b")])


def test_answer_too_long(raw_upstream: Upstreams) -> None:
    upstream = raw_upstream(answers(response(b"x" * 5000)))
    with pytest.raises(HttpClientError, match="longer than 1000 bytes"):
        run(lambda client: client.request("GET", f"http://{upstream.address}/"), max_answer_bytes=1000)


def test_works_in_loop_after_loop(raw_upstream: Upstreams) -> None:
    upstream = raw_upstream()
    client = AiohttpClient()

    async def once() -> int:
        status = (await client.request("GET", f"http://{upstream.address}/")).status
        await client.close()
        return status

    assert [asyncio.run(once()) for _ in range(2)] == [200, 200]


def test_certificates_are_checked(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 2 -subj /CN=localhost"
    subprocess.run(make.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(b"secret", headers=[("Connection", "close")]))
        await writer.drain()
        writer.close()

    async def go() -> HttpAnswer:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        client = AiohttpClient()
        try:
            with pytest.raises(HttpClientError, match="certificate"):
                await client.request("GET", url)
            return await client.request("GET", url, ssl_verify=False)
        finally:
            await client.close()
            server.close()
            await asyncio.sleep(0.05)

    assert asyncio.run(go()).body == b"secret"
