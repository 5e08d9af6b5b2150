"""TLS towards upstreams, over real connections to servers by Python's ssl."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bascule.net.tls_client import TlsClient, is_address
from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream, response

BIG = 2_000_000


class Upstreams:
    """TLS servers: each tells what it received, the server name and the client's certificate; `asks` wants one."""

    def __init__(self, folder: Path) -> None:
        self.authority = Certificates(folder / "certs", ("up.test", "localhost"))
        self.others = Certificates(folder / "others")
        self.names: list[str | None] = []
        context = self.context()
        self.plain = RawUpstream(self.tell, tls=context)
        asking = self.context()
        asking.verify_mode = ssl.CERT_REQUIRED
        asking.load_verify_locations(self.authority.ca.cert)
        self.asks = RawUpstream(self.tell, tls=asking)
        old = self.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        self.old = RawUpstream(self.tell, tls=old)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.server.cert, self.authority.server.key)

        def on_name(sock: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            self.names.append(name)

        context.sni_callback = on_name
        return context

    def tell(self, up: RawConnection) -> None:
        tls = up.sock
        assert isinstance(tls, ssl.SSLSocket)
        while True:
            request = up.read_request()
            if request.target == "/early":
                up.send(response(b"enough", "413 Content Too Large", [("Connection", "close")]))
                return
            if request.target == "/until-close":
                up.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * BIG)
                return
            subject = (tls.getpeercert() or {}).get("subject", ())
            told = {
                "host": request.header("Host"),
                "name": self.names[-1],
                "version": tls.version(),
                "reused": tls.session_reused,
                "size": len(request.body),
                "client": str(subject),
                "connection": id(up),
            }
            up.send(response(json.dumps(told).encode() + b" " * (BIG if request.target == "/big" else 0)))

    def stop(self) -> None:
        for one in (self.plain, self.asks, self.old):
            one.stop()


@pytest.fixture(scope="module")
def upstreams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstreams]:
    made = Upstreams(tmp_path_factory.mktemp("upstreams"))
    yield made
    made.stop()


def resources(up: Upstreams, *, strange: bool = False) -> dict[str, Any]:
    ca = up.authority.ca.cert.read_text()
    other = up.others.ca.cert.read_text()
    shown = up.others.client if strange else up.authority.client
    rewrite = {"regex_uri": ["^/[^/]+/(.*)", "/$1"]}

    def route(id: str, address: str, **more: Any) -> dict[str, Any]:
        upstream = {"scheme": "https", "nodes": {address: 1}, "retries": 0, **more}
        return {"id": id, "uri": f"/{id}/*", "upstream": upstream, "plugins": {"proxy-rewrite": rewrite}}

    named = {"pass_host": "rewrite", "upstream_host": "up.test:8443"}
    return {
        "routes": [
            route("pass", up.plain.address),
            route("named", up.plain.address, **named),
            route("verified", up.plain.address, tls={"ca_certs": ca}, **named),
            route("by-address", up.plain.address, tls={"ca_certs": ca}, pass_host="node"),
            route("wrong-name", up.plain.address, tls={"ca_certs": ca}),
            route("wrong-ca", up.plain.address, tls={"ca_certs": other, "verify": True}, **named),
            route("unverified", up.plain.address, tls={"ca_certs": other, "verify": False}, **named),
            route("system", up.plain.address, tls={"verify": True}, **named),
            route("by-id", up.asks.address, tls={"client_cert_id": "mine"}),
            route("inline", up.asks.address, tls={"client_cert": "$env://CERT", "client_key": "$env://KEY"}),
            route("unknown-id", up.asks.address, tls={"client_cert_id": "nobody"}),
            route("without", up.asks.address),
            route("old", up.old.address),
            route("too-new", up.old.address, tls={"ssl_protocols": ["TLSv1.3"]}),
            route("refused", "127.0.0.1:1"),
        ],
        "ssls": [{"id": "mine", "type": "client", **shown.texts}],
    }


@pytest.fixture(scope="module")
def served(upstreams: Upstreams, module_gateway: Callable[..., Gateway]) -> Gateway:
    client = upstreams.authority.client.texts
    return module_gateway(resources(upstreams), env={"CERT": client["cert"], "KEY": client["key"]})


def get(served: Gateway, path: str, host: str = "a.test") -> tuple[int, dict[str, Any]]:
    with served.client() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = client.read_response()
    return answer.status, json.loads(answer.body) if answer.status == 200 else {}


@pytest.mark.parametrize(
    ("path", "host", "name"),
    [
        ("/pass/x", "a.test:99", "a.test"),
        ("/named/x", "a.test", "up.test"),
        ("/by-address/x", "a.test", None),
        ("/pass/x", "127.0.0.1", None),
    ],
)
def test_the_name_that_is_asked_for(
    path: str, host: str, name: str | None, served: Gateway, upstreams: Upstreams
) -> None:
    status, told = get(served, path, host)
    assert (status, told["name"]) == (200, name)


@pytest.mark.parametrize("path", ["/verified/x", "/by-address/x", "/unverified/x", "/named/x"])
def test_who_is_trusted(path: str, served: Gateway) -> None:
    assert get(served, path)[0] == 200


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/wrong-name/x", "certificate verify failed: hostname mismatch"),
        ("/wrong-ca/x", "certificate verify failed: unable to get local issuer certificate"),
        ("/system/x", "certificate verify failed: unable to get local issuer certificate"),
        ("/too-new/x", "the TLS handshake failed: tlsv1 alert protocol version"),
        ("/unknown-id/x", 'tls.client_cert_id: there is no client certificate "nobody" in ssls'),
        ("/refused/x", "connection refused"),
    ],
)
def test_who_is_not(path: str, why: str, served: Gateway) -> None:
    assert get(served, path)[0] == 502
    deadline = time.monotonic() + 10
    while why not in served.log:
        assert time.monotonic() < deadline, served.log[-2000:]


def test_client_certificates(served: Gateway, upstreams: Upstreams) -> None:
    for path in ("/by-id/x", "/inline/x"):
        status, told = get(served, path)
        assert status == 200
        assert "client" in told["client"]
    # TLS 1.3: the server's refusal comes after the handshake, which was over for us.
    assert get(served, "/without/x")[0] == 502
    served.reload(resources(upstreams, strange=True))
    try:
        assert get(served, "/by-id/x")[0] == 502
    finally:
        served.reload(resources(upstreams))
    assert get(served, "/by-id/x")[0] == 200


def test_connections_are_used_again_for_the_same_name_only(served: Gateway) -> None:
    first, second, other, third = (
        get(served, "/pass/x", host)[1]["connection"] for host in ("r.test", "r.test", "s.test", "r.test")
    )
    assert first == second == third
    assert other != first


def test_sessions_are_resumed(served: Gateway, upstreams: Upstreams) -> None:
    for path, version, server in (("/pass/x", "TLSv1.3", upstreams.plain), ("/old/x", "TLSv1.2", upstreams.old)):
        host = f"resumed.{version}.test".lower()
        head = f" {path} HTTP/1.1\r\nHost: {host}\r\n".encode()
        with served.client() as one, served.client() as two:
            one.send(b"GET" + head + b"\r\n")
            first = json.loads(one.read_response().body)
            one.send(b"POST" + head + b"Content-Length: 20\r\n\r\nthe first half")  # its connection is busy now
            deadline = time.monotonic() + 10
            while not any(up.received.endswith(b"the first half") for up in server.connections):
                assert time.monotonic() < deadline
            two.send(b"GET" + head + b"\r\n")
            second = json.loads(two.read_response().body)
        assert (first["version"], first["reused"]) == (version, False)
        assert (second["version"], second["reused"]) == (version, True)


def test_large_bodies_both_ways(served: Gateway) -> None:
    with served.client() as client:
        for _ in range(3):
            client.send(b"POST /named/big HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BIG + b"x" * BIG)
            answer = client.read_response()
            assert json.loads(answer.body)["size"] == BIG
            assert len(answer.body) > BIG


def test_a_body_until_the_end_of_the_connection(served: Gateway) -> None:
    with served.client() as client:
        client.send(b"GET /named/until-close HTTP/1.1\r\nHost: a\r\n\r\n")
        assert len(client.read_response().body) == BIG


def test_an_early_answer(served: Gateway) -> None:
    with served.client() as client:
        client.send(b"POST /named/early HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert client.read_response().status == 413


def test_a_server_that_never_shakes_hands(tmp_path: Path) -> None:
    silent = RawUpstream(lambda up: up.read_to_end() and None)
    route = {
        "id": 1,
        "uri": "/*",
        "upstream": {
            "scheme": "https",
            "nodes": {silent.address: 1},
            "timeout": {"connect": 0.3, "send": 5, "read": 5},
            "retries": 0,
        },
    }
    server = Gateway(tmp_path, {"routes": [route]})
    try:
        with server.client() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.read_response().status == 504
    finally:
        server.stop()
        silent.stop()


def test_a_plain_server_and_a_node_that_works(served: Gateway, upstreams: Upstreams, tmp_path: Path) -> None:
    """A node whose handshake fails is left for the next one, with the body."""
    plain = RawUpstream(lambda up: up.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    nodes = [
        {"host": "127.0.0.1", "port": plain.port, "weight": 1000},
        {"host": "127.0.0.1", "port": upstreams.plain.port, "weight": 1},
    ]
    server = Gateway(tmp_path, {"routes": [{"id": 1, "uri": "/*", "upstream": {"scheme": "https", "nodes": nodes}}]})
    try:
        with server.client() as client:
            client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            answer = client.read_response()
        assert (answer.status, json.loads(answer.body)["size"]) == (200, 5)
    finally:
        server.stop()
        plain.stop()


def test_websockets_over_tls(tmp_path: Path, upstreams: Upstreams) -> None:
    def upgrade(up: RawConnection) -> None:
        up.read_head()
        up.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        while data := up.read_some():
            up.send(data.upper())

    server = RawUpstream(upgrade, tls=upstreams.context())
    port = free_port()
    authority = upstreams.authority
    gateway = Gateway(
        tmp_path,
        {
            "routes": [
                {
                    "id": 1,
                    "uri": "/*",
                    "enable_websocket": True,
                    "upstream": {"scheme": "https", "nodes": {server.address: 1}},
                }
            ],
            "ssls": [{"id": 1, "sni": "up.test", **authority.server.texts}],
        },
        config={"apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": port}]}}},
    )
    try:
        context = ssl.create_default_context(cafile=str(authority.ca.cert))
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="up.test") as sock:
            client = RawConnection(sock)
            client.send(b"GET / HTTP/1.1\r\nHost: up.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
            assert client.read_head().status == 101
            client.send(b"hello" * 20_000)
            assert client.read_exactly(100_000) == b"HELLO" * 20_000
            client.send(b"bye")
            assert client.read_exactly(3) == b"BYE"
    finally:
        gateway.stop()
        server.stop()


def test_names_and_addresses() -> None:
    assert [is_address(name) for name in ("a.test", "127.0.0.1", "::1", "")] == [False, True, True, False]


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere can't be read"):
        TlsClient(verify=True, trusted=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="no certificate can be read"):
        TlsClient(verify=True, ca="junk")
