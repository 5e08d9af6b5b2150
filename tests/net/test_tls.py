"""TLS towards clients, over real connections: Python's ssl, openssl s_client and curl are the clients."""

import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.process import run_tool
from tests.servers.raw import Closed, RawConnection, RawUpstream
from tests.servers.tls import TlsConnection, blind, connect

BIG = 3_000_000


class Served:
    """A gateway with certificates for some names, in front of an upstream that tells what it received."""

    def __init__(self, folder: Path) -> None:
        self.authority = Certificates(folder / "certs")
        self.others = Certificates(folder / "others")
        rsa_key = rsa.generate_private_key(65537, 2048)
        self.pairs = {
            "exact": self.authority.issue("exact", ("a.test", "b.a.test")),
            "rsa": self.authority.issue("rsa", ("a.test",), key=rsa_key),
            "wild": self.authority.issue("wild", ("*.a.test",)),
            "new": self.authority.issue("new", ("c.test",)),
            "asking": self.authority.issue("asking", ("asks.test",)),
            "modern": self.authority.issue("modern", ("modern.test",)),
        }
        self.upstream = RawUpstream()
        self.port = free_port()
        self.gateway = Gateway(
            folder / "gateway",
            self.resources(),
            config={
                "apisix": {
                    "ssl": {
                        "enable": True,
                        "listen": [{"ip": "127.0.0.1", "port": self.port}],
                        "fallback_sni": "b.a.test",
                        "ssl_session_tickets": True,
                        "ssl_ciphersuites": "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384",
                    }
                },
                "nginx_config": {
                    "http": {
                        "access_log_format": "$host $ssl_protocol $ssl_server_name $ssl_session_reused "
                        "$ssl_client_verify $ssl_client_s_dn $scheme $status"
                    }
                },
            },
        )

    def resources(self, third: str = "wild") -> dict[str, Any]:
        rsa_pair = self.pairs["rsa"].texts
        return {
            "routes": [
                {"id": 1, "uri": "/*", "upstream": {"nodes": {self.upstream.address: 1}}},
                {"id": 2, "uri": "/open/*", "upstream": {"nodes": {self.upstream.address: 1}}},
            ],
            "ssls": [
                {
                    "id": "exact",
                    "snis": ["a.test", "B.a.test"],
                    **self.pairs["exact"].texts,
                    "certs": [rsa_pair["cert"]],
                    "keys": [rsa_pair["key"]],
                },
                {"id": "wild", "sni": "*.a.test", **self.pairs["wild"].texts},
                {"id": "third", "sni": "c.test", **self.pairs[third].texts},
                {"id": "off", "sni": "off.test", "status": 0, **self.pairs["wild"].texts},
                {
                    "id": "modern",
                    "sni": "modern.test",
                    "ssl_protocols": ["TLSv1.3"],
                    "ssl_ciphersuites": "TLS_CHACHA20_POLY1305_SHA256",
                    **self.pairs["modern"].texts,
                },
                {
                    "id": "asking",
                    "sni": "asks.test",
                    **self.pairs["asking"].texts,
                    "client": {"ca": self.authority.ca.cert.read_text(), "skip_mtls_uri_regex": ["^/open/"]},
                },
            ],
        }

    def context(self, **changes: Any) -> ssl.SSLContext:
        return blind(**changes)

    def connect(self, name: str | None, context: ssl.SSLContext | None = None, **options: Any) -> TlsConnection:
        return connect(self.port, name, context, **options)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("tls"))
    yield made
    made.gateway.stop()
    made.upstream.stop()


def failures(served: Served) -> dict[str, int]:
    text = served.gateway.metrics()
    found = {}
    for line in text.splitlines():
        if line.startswith("bascule_tls_handshake_failures{"):
            found[line.split('"')[1]] = int(float(line.rsplit(" ", 1)[1]))
    return found


def wait_failure(served: Served, reason: str, before: dict[str, int]) -> None:
    deadline = time.monotonic() + 10
    while failures(served).get(reason, 0) <= before.get(reason, 0):
        assert time.monotonic() < deadline, failures(served)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a.test", ["a.test", "b.a.test"]),
        ("b.a.test", ["a.test", "b.a.test"]),  # exact goes before the wildcard
        ("x.a.test", ["*.a.test"]),
        ("C.TEST", ["*.a.test"]),
        (None, ["a.test", "b.a.test"]),  # the fallback's
    ],
)
def test_the_certificate_goes_by_the_server_name(asked: str | None, shown: list[str], served: Served) -> None:
    with served.connect(asked) as client:
        assert client.names == shown
        assert client.get("a.test") == 200


@pytest.mark.parametrize("asked", ["x.y.a.test", "nowhere.test", "off.test"])
def test_a_name_without_a_certificate_ends_the_handshake(asked: str, served: Served) -> None:
    before = failures(served)
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        served.connect(asked)
    wait_failure(served, "no certificate for the server name", before)


def test_what_the_upstream_is_told(served: Served) -> None:
    with served.connect("a.test") as client:
        client.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        told = dict(json.loads(client.read_response().body)["headers"])
    assert (told["X-Forwarded-Proto"], told["X-Forwarded-Port"]) == ("https", str(served.port))


def test_each_kind_of_key_for_whom_it_suits(served: Served) -> None:
    for ciphers, shown in (
        ("ECDHE-RSA-AES128-GCM-SHA256", ["a.test"]),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", ["a.test", "b.a.test"]),
    ):
        context = served.context(maximum_version=ssl.TLSVersion.TLSv1_2)
        context.set_ciphers(ciphers)
        with served.connect("a.test", context) as client:
            assert client.names == shown
            assert client.tls.cipher()[0] == ciphers  # type: ignore[index]
            assert client.get("a.test") == 200


def test_versions_for_a_name(served: Served) -> None:
    with pytest.raises(ssl.SSLError):
        served.connect("modern.test", served.context(maximum_version=ssl.TLSVersion.TLSv1_2))
    with served.connect("modern.test") as client:
        assert client.tls.version() == "TLSv1.3"


def test_cipher_suites_of_tls_1_3(served: Served) -> None:
    for name, suite in (("modern.test", "TLS_CHACHA20_POLY1305_SHA256"), ("a.test", "TLS_AES_128_GCM_SHA256")):
        with served.connect(name) as client:
            cipher = client.tls.cipher()
            assert cipher
            assert cipher[0] == suite
            assert client.get(name) == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_bodies_both_ways(version: ssl.TLSVersion, served: Served) -> None:
    body = bytes(range(256)) * (BIG // 256)
    with served.connect("a.test", served.context(maximum_version=version, minimum_version=version)) as client:
        for _ in range(2):
            client.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            answer = client.read_response()
            assert json.loads(answer.body)["body"] == body.decode("latin-1")


def test_a_client_that_reads_late_gets_all(served: Served) -> None:
    body = b"x" * BIG
    with served.connect("a.test") as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        with served.connect("a.test") as other:  # meanwhile others are served
            assert [other.get("a.test") for _ in range(3)] == [200] * 3
        assert len(json.loads(client.read_response().body)["body"]) == BIG


def test_pipelined_requests_in_one_record_and_dribbled_ones(served: Served) -> None:
    request = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
    with served.connect("a.test") as client:
        client.send(request * 3)
        assert [client.read_response().status for _ in range(3)] == [200] * 3
        client.send(*[request[i : i + 1] for i in range(len(request))])
        assert client.read_response().status == 200


def test_the_connection_ends_with_a_goodbye(served: Served) -> None:
    with served.connect("a.test") as client:
        client.tls.suppress_ragged_eofs = False
        client.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        assert client.read_response().status == 200
        assert client.tls.recv(1) == b""  # no close_notify would raise


def test_a_client_without_tls_is_told(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as sock:
        client = RawConnection(sock)
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert client.read_response().status == 400
        assert client.is_closed()


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00" * 64,
        b"\x16\x03\x01\xff\xff" + b"\x01" * 64,  # a record longer than allowed
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
        b"\x15\x03\x01\x00\x02\x02\x28",  # an alert first
        b"\x17\x03\x03\x00\x10" + b"y" * 16,  # data first
    ],
)
def test_what_is_no_handshake_ends_the_connection(junk: bytes, served: Served) -> None:
    before = sum(failures(served).values())
    with served.connect("a.test") as other:
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as sock:
            sock.sendall(junk)
            client = RawConnection(sock)
            client.read_to_end()
        assert other.get("a.test") == 200
    deadline = time.monotonic() + 10
    while sum(failures(served).values()) <= before:
        assert time.monotonic() < deadline


def test_a_handshake_cut_short_is_counted(served: Served) -> None:
    before = failures(served)
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as sock:
        sock.sendall(b"\x16\x03\x01\x01\x00\x01")
    wait_failure(served, "the connection closed within the handshake", before)


def test_a_damaged_record_ends_its_connection_alone(served: Served) -> None:
    with served.connect("a.test") as client, served.connect("a.test") as other:
        assert client.get("a.test") == 200
        raw = socket.socket(fileno=client.tls.detach())
        raw.settimeout(10)
        raw.sendall(b"\x17\x03\x03\x00\x40" + b"z" * 64)
        raw.settimeout(10)
        rest = b""
        while piece := raw.recv(4096):
            rest += piece
        raw.close()
        assert b"HTTP" not in rest
        assert other.get("a.test") == 200


def test_renegotiation_is_refused(served: Served) -> None:
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{served.port}", "-servername", "a.test", "-tls1_2"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin
        assert client.stdout
        told = b""
        while b"Verify return code" not in told:
            told += client.stdout.readline()
        client.stdin.write(b"R\n")
        client.stdin.flush()
        told += client.communicate(timeout=20)[0]
    assert b"no renegotiation" in told


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(version: ssl.TLSVersion, served: Served) -> None:
    context = served.context(maximum_version=version, minimum_version=version)
    with served.connect("a.test", context) as client:
        assert client.get("a.test") == 200
        session = client.tls.session
    with served.connect("a.test", context, session=session) as client:
        assert client.tls.session_reused
        assert client.get("a.test") == 200
    with served.connect("c.test", context, session=session) as client:  # another name: not the same session
        assert not client.tls.session_reused
        assert client.get("c.test") == 200


def test_a_certificate_changes_without_closing_anything(served: Served) -> None:
    with served.connect("c.test") as client:
        before = client.names
        served.gateway.reload(served.resources("new"))
        try:
            with served.connect("c.test") as other:
                assert other.names != before
                assert other.names == ["c.test"]
            assert client.get("c.test") == 200
        finally:
            served.gateway.reload(served.resources())


def with_certificate(served: Served, authority: Certificates) -> ssl.SSLContext:
    context = served.context()
    context.load_cert_chain(authority.client.cert, authority.client.key)
    return context


def test_client_certificates(served: Served) -> None:
    with served.connect("asks.test") as client:
        assert client.get("asks.test", "/open/x") == 200
    with served.connect("asks.test") as client:
        assert client.get("asks.test", "/closed") == 400
    with served.connect("asks.test", with_certificate(served, served.others)) as client:
        assert client.get("asks.test", "/closed") == 400
    with served.connect("asks.test", with_certificate(served, served.authority)) as client:
        assert client.get("asks.test", "/closed") == 200
    with served.connect("a.test") as client:  # not around it, by a connection that was opened for another name
        assert client.get("asks.test", "/open/x") == 200
        assert client.get("asks.test:443", "/closed") == 400
    assert served.gateway.logged("asks.test TLSv1.3 asks.test . SUCCESS CN=client https 200")
    assert served.gateway.logged("asks.test TLSv1.3 asks.test . NONE - https 400")
    assert served.gateway.logged(" FAILED:")


def test_client_certificates_over_http2(served: Served) -> None:
    def status(host: str, path: str, *more: str) -> str:
        argv = ["curl", "-sk", "--http2", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "--max-time", "20"]
        address = f"{host}:{served.port}"
        return run_tool(*argv, *more, "--resolve", f"{address}:127.0.0.1", f"https://{address}{path}").decode()

    def shown(authority: Certificates) -> tuple[str, ...]:
        return ("--cert", str(authority.client.cert), "--key", str(authority.client.key))

    assert status("asks.test", "/open/x") == "200 2"
    assert status("asks.test", "/closed") == "400 2"
    assert status("asks.test", "/closed", *shown(served.others)) == "400 2"
    assert status("asks.test", "/closed", *shown(served.authority)) == "200 2"
    assert status("a.test", "/closed", "-H", "Host: asks.test") == "400 2"


def test_curl(served: Served) -> None:
    argv = ["curl", "-sS", "--fail", "--cacert", str(served.authority.ca.cert), "--max-time", "20"]
    for name in ("a.test", "x.a.test"):
        url = f"https://{name}:{served.port}/x"
        said = run_tool(*argv, "--resolve", f"{name}:{served.port}:127.0.0.1", url)
        assert json.loads(said)["target"] == "/x"


def test_closed_is_not_an_answer(served: Served) -> None:
    """An unfinished request on a connection that the client ends properly."""
    with served.connect("a.test") as client:
        client.send(b"GET /x HTTP/1.1\r\nHost:")
        client.tls.settimeout(10)
        raw = client.tls.unwrap()
        raw.close()
    with served.connect("a.test") as client:
        client.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        assert client.read_response().status == 200
        with pytest.raises(Closed):
            client.read_response()


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_certificates_larger_than_what_the_socket_takes_at_once(protocol: str, tmp_path: Path) -> None:
    """A small segment size makes the gateway's send buffer small: the rest of the handshake waits."""
    authority = Certificates(tmp_path / "certs")
    pair = authority.issue("long", ("long.test",))
    with pair.cert.open("a") as file:
        file.write(authority.ca.cert.read_text() * 190)  # below the 100 KB that clients take
    texts = {"cert": f"$file://{pair.cert}", "key": f"$file://{pair.key}"}
    port = free_port()
    gateway = Gateway(
        tmp_path / "gateway",
        {"ssls": [{"id": 1, "sni": "long.test", **texts}]},
        {"apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": port}]}}},
    )
    context = ssl.create_default_context(cafile=str(authority.ca.cert))
    context.set_alpn_protocols([protocol])
    raw = socket.socket()
    try:
        raw.settimeout(20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)
        raw.connect(("127.0.0.1", port))
        with context.wrap_socket(raw, server_hostname="long.test") as tls:
            assert tls.selected_alpn_protocol() == protocol
            if protocol == "h2":
                assert tls.recv(9)[3] == 4  # its SETTINGS
            else:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: long.test\r\n\r\n")
                assert tls.recv(12) == b"HTTP/1.1 404"
    finally:
        raw.close()
        gateway.stop()
