"""The PROXY protocol towards clients: raw bytes, curl and haproxy in front of the gateway."""

import json
import re
import shutil
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bascule.wire.proxy_protocol import build_proxy_header
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.process import ServerProcess, run_tool
from tests.servers.raw import Closed, Message, RawClient, RawUpstream

LOG = "$remote_addr $remote_port $server_addr $server_port [$proxy_protocol_addr] $uri"
GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
V1 = build_proxy_header(1, "203.0.113.7", 4711, "192.0.2.1", 8443)
V2 = build_proxy_header(2, "203.0.113.7", 4711, "192.0.2.1", 8443)
LOCAL = build_proxy_header(2, None, 0, None, 0)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def served(echo: RawUpstream, port: int, module_gateway: Callable[..., Gateway]) -> Gateway:
    behind = {"nodes": {echo.address: 1}}
    variables = ("addr", "port", "server_addr", "server_port")
    said = {f"X-{name.replace('_', '-')}": f"$proxy_protocol_{name}" for name in variables}
    resources = {
        "routes": [
            {"id": "all", "uri": "/*", "upstream": behind},
            {"id": "vars", "uri": "/vars", "upstream": behind, "plugins": {"proxy-rewrite": {"headers": said}}},
            {
                "id": "some",
                "uri": "/some",
                "upstream": behind,
                "plugins": {"ip-restriction": {"whitelist": ["203.0.113.0/24"]}},
            },
        ]
    }
    config = {
        "apisix": {"proxy_protocol": {"listen_http_port": port}},
        "nginx_config": {"http": {"access_log_format": LOG, "client_header_timeout": 1}},
    }
    return module_gateway(resources, config)


def account(answer: Message) -> dict[str, str]:
    """The headers that the upstream saw."""
    seen: Any = answer.json()
    return dict(seen["headers"])


def refused(served: Gateway) -> int:
    found = re.search(r"^bascule_refused_proxies (\d+)", served.metrics(), re.MULTILINE)
    assert found
    return int(found[1])


@pytest.mark.parametrize("header", [V1, V2])
def test_the_source_is_the_client(header: bytes, served: Gateway, port: int) -> None:
    with RawClient(port) as client:
        client.send(header)
        for path in ("first", "second"):  # it counts for the whole connection
            headers = account(client.request("GET", f"/{path}"))
            assert headers["X-Real-IP"] == headers["X-Forwarded-For"] == "203.0.113.7"
            assert headers["X-Forwarded-Port"] == "8443"
        assert client.request("GET", "/some").status == 200
    lines = served.access_log(3).splitlines()
    assert "203.0.113.7 4711 192.0.2.1 8443 [203.0.113.7] /first" in lines


def test_the_variables(served: Gateway, port: int) -> None:
    with RawClient(port) as client:
        client.send(V2)
        headers = account(client.request("GET", "/vars"))
        found = [headers[f"X-{name}"] for name in ("addr", "port", "server-addr", "server-port")]
        assert found == ["203.0.113.7", "4711", "192.0.2.1", "8443"]
    with served.client() as client:  # the plain port
        assert account(client.request("GET", "/vars")).get("X-addr", "") == ""


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN a b c d\r\n"])
def test_a_header_without_addresses_leaves_the_peer(header: bytes, served: Gateway, port: int) -> None:
    with RawClient(port) as client:
        client.send(header)
        assert account(client.request("GET", "/"))["X-Real-IP"] == "127.0.0.1"
        assert client.request("GET", "/some").status == 403


def test_ipv6_sources_and_ipv4_in_ipv6(served: Gateway, port: int) -> None:
    for source, seen in (("2001:db8::1", "2001:db8::1"), ("::ffff:203.0.113.9", "203.0.113.9")):
        with RawClient(port) as client:
            client.send(build_proxy_header(2, source, 1, "::1", 2))
            assert account(client.request("GET", "/"))["X-Real-IP"] == seen


@pytest.mark.parametrize("header", [V1, V2])
def test_in_one_segment_with_requests_and_byte_by_byte(header: bytes, served: Gateway, port: int) -> None:
    with RawClient(port) as client:
        client.send(header + GET % b"a" + GET % b"b")
        for _ in range(2):
            assert account(client.read_response())["X-Real-IP"] == "203.0.113.7"
    with RawClient(port) as client:
        data = header + GET % b"c"
        client.send(*(data[i : i + 1] for i in range(len(data))))
        assert account(client.read_response())["X-Real-IP"] == "203.0.113.7"


def test_a_large_header_with_tlvs(served: Gateway, port: int) -> None:
    value = b"x" * 4000
    body = V2[16:] + struct.pack(">BH", 0xE0, len(value)) + value
    data = V2[:14] + struct.pack(">H", len(body)) + body
    with RawClient(port) as client:
        client.send(data[:1500], data[1500:] + GET % b"")
        assert account(client.read_response())["X-Real-IP"] == "203.0.113.7"


@pytest.mark.parametrize(
    "data",
    [
        GET % b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 99999\r\n" + GET % b"",
        b"PROXY UNKNOWN " + b"x" * 500,
        V2[:14] + b"\xff\xff" + b"x" * 100,
        V2[:12] + b"\x31" + V2[13:] + GET % b"",
        V1 + V1 + GET % b"",
    ],
)
def test_anything_else_closes_the_connection(data: bytes, served: Gateway, port: int) -> None:
    before = refused(served)
    with RawClient(port) as client:
        client.send(data)
        answer = client.read_to_end()
    if data.startswith(V1):
        assert answer.startswith(b"HTTP/1.1 400 ")  # one header, then requests
        assert refused(served) == before
    else:
        assert answer == b""
        assert refused(served) == before + 1


def test_a_header_that_stops_halfway(served: Gateway, port: int) -> None:
    before = refused(served)
    with RawClient(port) as cut, RawClient(port) as slow, RawClient(port) as silent:
        cut.send(V1[:20])
        cut.shutdown_write()
        assert cut.is_closed()
        slow.send(V2[:20])
        assert slow.is_closed()  # after client_header_timeout
        assert silent.is_closed()
    assert refused(served) == before + 3
    with RawClient(port):
        pass  # a balancer that looks whether the port is open
    with RawClient(port) as client:
        client.send(V1)
        assert client.request("GET", "/").status == 200
    assert refused(served) == before + 3


def test_a_plain_port_takes_no_header(served: Gateway) -> None:
    with served.client() as client:
        client.send(V1 + GET % b"")
        assert client.read_response().status == 400


def test_curl(served: Gateway, port: int) -> None:
    said = run_tool("curl", "-sS", "--max-time", "20", "--haproxy-protocol", f"http://127.0.0.1:{port}/vars")
    headers = dict(json.loads(said)["headers"])
    assert headers["X-Real-IP"] == headers["X-addr"] == "127.0.0.1"
    assert headers["X-server-port"] == str(port)


HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 10s
    timeout client 20s
    timeout server 20s
frontend in
    bind 127.0.0.1:{front}
    use_backend out
backend out
    server one 127.0.0.1:{port} {options}
"""


@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
def test_haproxy_in_front(options: str, served: Gateway, port: int, tmp_path: Path) -> None:
    front = free_port()
    file = tmp_path / "haproxy.cfg"
    file.write_text(HAPROXY.format(front=front, port=port, options=options))
    binary = shutil.which("haproxy") or "/usr/sbin/haproxy"
    process = ServerProcess([binary, "-db", "-f", str(file)], tmp_path / "haproxy.log")
    try:
        process.wait_connectable(front)
        with RawClient(front) as client:
            own_port = client.sock.getsockname()[1]
            headers = account(client.request("GET", "/vars"))
        assert headers["X-addr"] == "127.0.0.1"
        assert headers["X-port"] == str(own_port)
        assert headers["X-server-port"] == str(front)
    finally:
        process.stop()


def test_a_port_changes_between_plain_and_proxy_by_sighup(tmp_path: Path, echo: RawUpstream) -> None:
    changing, other = free_port(), free_port()
    plain = {"apisix": {"node_listen": [changing], "proxy_protocol": {"listen_http_port": other}}}
    proxied = {"apisix": {"node_listen": [other], "proxy_protocol": {"listen_http_port": changing}}}
    route = {"routes": [{"uri": "/*", "upstream": {"nodes": {echo.address: 1}}}]}
    server = Gateway(tmp_path / "changing", route, plain)

    def source(header: bytes) -> str | None:
        """The client's address as the upstream sees it; None: the port wants to hear it otherwise."""
        try:
            with RawClient(changing) as client:
                client.send(header + GET % b"x")
                answer = client.read_response()
                return account(answer)["X-Real-IP"] if answer.status == 200 else None
        except (Closed, ConnectionError):
            return None

    def change(config: dict[str, Any], header: bytes, wanted: str) -> None:
        server.configure(config)
        server.process.popen.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while source(header) != wanted:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    try:
        assert source(b"") == "127.0.0.1"
        for _ in range(2):
            change(proxied, V1, "203.0.113.7")
            change(plain, b"", "127.0.0.1")
    finally:
        assert server.stop() == 0
