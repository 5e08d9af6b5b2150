"""HTTP/2 towards clients, as clients that people use see it."""

import re
import ssl
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.http2 import (
    PREFACE,
    Http2Client,
)
from tests.servers.ports import free_port
from tests.servers.process import run_tool
from tests.servers.raw import RawClient, RawUpstream, echoed

BLOCK = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def served(echo: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    routes = [
        {"id": "variables", "uri": "/variables", "plugins": {"mocking": {"response_example": "$server_protocol"}}},
        {"id": "echo", "uri": "/*", "upstream": {"nodes": {echo.address: 1}}},
    ]
    log = '$http2 "$request" $status $body_bytes_sent'
    return module_gateway({"routes": routes}, {"nginx_config": {"http": {"access_log_format": log}}})


@pytest.fixture
def client(served: Gateway) -> Iterator[Http2Client]:
    with Http2Client(served.port) as connection:
        yield connection


def test_a_request_reaches_an_upstream_of_http_1(served: Gateway, client: Http2Client) -> None:
    answer = client.get("/echo/a%20b?x=1", ("x-one", "1"), ("accept", "*/*"), authority="shop.example:8080")
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.header("server") is not None
    assert answer.header("date") is not None
    assert answer.header("connection") is None
    request = echoed(answer.body)
    assert request.first_line == "GET /echo/a%20b?x=1"
    assert request.header("Host") == "shop.example:8080"
    assert request.header("X-One") == "1"
    assert request.header("X-Forwarded-For") == "127.0.0.1"
    assert request.header("X-Forwarded-Proto") == "http"
    assert request.header("X-Forwarded-Host") == "shop.example:8080"
    assert request.header("Transfer-Encoding") is None
    assert request.header("Content-Length") is None


def test_variables_and_the_access_log_say_the_protocol(served: Gateway, client: Http2Client) -> None:
    assert client.get("/variables").body.strip() == b"HTTP/2.0"
    client.get("/echo/logged")
    line = served.logged("/echo/logged")
    assert re.fullmatch(r'h2c "GET /echo/logged HTTP/2\.0" 200 [1-9]\d*', line)


def test_over_tls_alpn_chooses_it(
    gateway: Callable[..., Gateway], certificates: Certificates, echo: RawUpstream
) -> None:
    routes = [
        {"uri": "/alpn", "plugins": {"mocking": {"response_example": "$http2 $ssl_alpn_protocol $scheme"}}},
        {"uri": "/*", "upstream": {"nodes": {echo.address: 1}}},
    ]
    ssls = [{"id": "1", "sni": "localhost", **certificates.server.texts}]
    port, old_port = free_port(), free_port()
    listen = [{"ip": "127.0.0.1", "port": port}, {"ip": "127.0.0.1", "port": old_port, "enable_http2": False}]
    gateway({"routes": routes, "ssls": ssls}, {"apisix": {"ssl": {"enable": True, "listen": listen}}})
    context = ssl.create_default_context(cafile=str(certificates.ca.cert))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Http2Client(port, tls=context) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.selected_alpn_protocol() == "h2"
        assert client.get("/alpn", authority="localhost").body.strip() == b"h2 h2 https"
        large = client.get("/echo", method="POST", body=b"x" * 300_000, authority="localhost")
        request = echoed(large.body)
        assert request.header("X-Forwarded-Proto") == "https"
        assert len(request.body) == 300_000
        streams = [client.request(f"/echo/{i}", authority="localhost") for i in range(100)]
        assert all(client.wait(stream).status == 200 for stream in streams)
    with Http2Client(old_port, tls=context, preface=b"") as old:
        assert isinstance(old.sock, ssl.SSLSocket)
        assert old.sock.selected_alpn_protocol() == "http/1.1"
        old.raw(b"GET /alpn HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert old.sock.recv(65536).startswith(b"HTTP/1.1 200")
    said = run_tool(
        "curl", "-sS", "--http2", "-w", "%{http_version}", "--cacert", str(certificates.ca.cert),
        "--resolve", f"localhost:{port}:127.0.0.1", f"https://localhost:{port}/alpn",
    )  # fmt: skip
    assert said.endswith(b"2")


def test_listeners_may_do_without_it(gateway: Callable[..., Gateway], echo: RawUpstream) -> None:
    port = free_port()
    listen = [{"ip": "127.0.0.1", "port": port, "enable_http2": False}]
    routes = {"routes": [{"uri": "/*", "upstream": {"nodes": {echo.address: 1}}}]}
    gateway(routes, {"apisix": {"node_listen": listen}})
    with RawClient(port) as client:
        client.send(PREFACE)
        assert client.read_response().status == 505


def test_curl(served: Gateway) -> None:
    said = run_tool(
        "curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version}", "-d", "hello", f"{served.url}/echo"
    )
    assert said.endswith(b"2")
    assert echoed(said[:-1]).body == b"hello"


def test_nghttp(served: Gateway) -> None:
    said = subprocess.run(
        ["nghttp", "-v", *[f"{served.url}/echo/{i}" for i in range(5)]], capture_output=True, timeout=20, check=True
    ).stdout
    assert len(re.findall(rb"recv \(stream_id=\d+\) :status: 200", said)) == 5


def test_h2load(served: Gateway) -> None:
    said = subprocess.run(
        ["h2load", "-n2000", "-c4", "-m32", f"{served.url}/variables"], capture_output=True, timeout=60, check=True
    ).stdout
    assert b"2000 succeeded, 0 failed, 0 errored, 0 timeout" in said
