"""PROXY headers that the gateway sends to nodes: nginx and raw bytes behind it."""

from collections.abc import Iterator

import pytest

from bascule.wire.proxy_protocol import ProxyHeader, build_proxy_header
from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.servers.raw import RawClient, RawConnection, RawUpstream, response

NGINX = """server {
    listen 127.0.0.1:$PORT proxy_protocol;
    location / {
        return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port $connection_requests";
    }
}"""


def play(connection: RawConnection) -> None:
    """Answers each request with the header that the connection began with, and the request's body."""
    start = connection.read_exactly(6)
    if start == b"PROXY ":
        start += connection.read_until(b"\n")
    elif start == b"\r\n\r\n\0\r":
        start += connection.read_exactly(10)
        start += connection.read_exactly(int.from_bytes(start[14:16], "big"))
    else:
        connection.buffer, start = start + connection.buffer, b""
    while True:
        request = connection.read_request()
        connection.send(response(start + b"|" + request.body))


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    one = RawUpstream(play)
    yield one
    one.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    one = Nginx(NGINX, tmp_path_factory.mktemp("nginx"))
    yield one
    one.stop()


@pytest.fixture(scope="module")
def proxy_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, upstream: RawUpstream, nginx: Nginx, proxy_port: int
) -> Iterator[Gateway]:
    raw, dead = upstream.address, f"127.0.0.1:{free_port()}"
    directory = tmp_path_factory.mktemp("gateway")
    routes = [
        {"id": "plain", "uri": "/plain", "upstream": {"nodes": {raw: 1}}},
        {"id": "v1", "uri": "/v1", "upstream": {"nodes": {raw: 1}, "proxy_protocol": "v1"}},
        {"id": "v2", "uri": "/v2", "upstream": {"nodes": {raw: 1}, "proxy_protocol": "v2"}},
        {"id": "retry", "uri": "/retry", "upstream": {"nodes": {dead: 1, raw: 1}, "proxy_protocol": "v2"}},
        {"id": "nginx1", "uri": "/nginx/v1", "upstream": {"nodes": {nginx.address: 1}, "proxy_protocol": "v1"}},
        {"id": "nginx2", "uri": "/nginx/v2", "upstream": {"nodes": {nginx.address: 1}, "proxy_protocol": "v2"}},
        {
            "id": "real",
            "uri": "/real",
            "upstream": {"nodes": {raw: 1}, "proxy_protocol": "v1"},
            "plugins": {"real-ip": {"source": "http_x_real"}},
        },
    ]
    port = free_port()
    listen = [{"ip": "127.0.0.1", "port": port}, f"unix:{directory}/gateway.sock"]
    apisix = {"node_listen": listen, "proxy_protocol": {"listen_http_port": proxy_port}}
    one = Gateway(directory, {"routes": routes}, {"apisix": apisix})
    one.port = port
    yield one
    one.finish()


def told(data: bytes) -> tuple[str | None, int, str | None, int]:
    header = ProxyHeader()
    assert header.read(data) == len(data)
    return header.source, header.source_port, header.destination, header.destination_port


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_behind(version: str, served: Gateway) -> None:
    with served.client() as client:
        own = client.sock.getsockname()[1]
        for _ in range(3):
            answer = client.request("GET", f"/nginx/{version}")
            assert answer.body == f"127.0.0.1 {own} {served.port} 1".encode()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_each_request_has_a_connection_and_a_header_of_its_own(
    version: str, served: Gateway, upstream: RawUpstream
) -> None:
    before = len(upstream.connections)
    with served.client() as one, served.client() as other:
        for client in (one, other, one):
            header, _, body = client.request("POST", f"/{version}", body=b"hello").body.rpartition(b"|")
            assert body == b"hello"
            assert header.startswith(b"PROXY" if version == "v1" else b"\r\n")
            assert told(header) == ("127.0.0.1", client.sock.getsockname()[1], "127.0.0.1", served.port)
    assert len(upstream.connections) == before + 3


def test_the_pool_of_the_same_node_stays_apart(served: Gateway, upstream: RawUpstream) -> None:
    with served.client() as client:
        assert client.request("GET", "/plain").body == b"|"
        pooled = len(upstream.connections)
        assert client.request("GET", "/v2").body != b"|"
        assert client.request("GET", "/plain").body == b"|"
    assert len(upstream.connections) == pooled + 1


def test_another_node_gets_the_header_too(served: Gateway) -> None:
    body = b"x" * 100_000
    with served.client() as client:
        for _ in range(4):
            header, _, echoed = client.request("POST", "/retry", body=body).body.rpartition(b"|")
            assert echoed == body
            assert told(header)[0] == "127.0.0.1"


def test_the_client_as_a_balancer_or_a_plugin_tells_it(served: Gateway, proxy_port: int) -> None:
    with RawClient(proxy_port) as client:
        client.send(build_proxy_header(1, "203.0.113.7", 4711, "192.0.2.1", 443))
        header = client.request("GET", "/v2").body[:-1]
        assert told(header) == ("203.0.113.7", 4711, "192.0.2.1", 443)
        header = client.request("GET", "/real", [("X-Real", "2001:db8::9")]).body[:-1]
        assert told(header)[0] == "2001:db8::9"
        assert header.startswith(b"PROXY TCP6 2001:db8::9 ::ffff:192.0.2.1 ")


def test_a_client_without_an_address(served: Gateway) -> None:
    with RawClient.unix(f"{served.directory}/gateway.sock") as client:
        assert client.request("GET", "/v1").body == b"PROXY UNKNOWN\r\n|"
        assert client.request("GET", "/v2").body == build_proxy_header(2, None, 0, None, 0) + b"|"
