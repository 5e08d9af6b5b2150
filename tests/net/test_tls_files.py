"""Certificates, keys and authorities in files: of what is shown to clients, and towards upstreams."""

import os
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Certificates, Pair
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream, response
from tests.servers.tls import connect


class Served:
    """`shown`: to clients; `own`: to the upstream, which tells the name in it; `ca`: of the upstream."""

    def __init__(self, folder: Path) -> None:
        self.authority = Certificates(folder / "certs")
        self.shown = self.authority.issue("shown", ("first.test",))
        self.own = self.authority.issue("own")
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(self.authority.ca.cert.read_bytes())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.server.cert, self.authority.server.key)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.authority.ca.cert)
        self.upstream = RawUpstream(tell, tls=context)
        self.port = free_port()
        node = {f"localhost:{self.upstream.port}": 1}
        tls = {
            "ca_certs": f"$file://{self.ca}",
            "client_cert": f"$file://{self.own.cert}",
            "client_key": f"$file://{self.own.key}",
        }
        self.ssl = {"id": "1", "sni": "a.test", **referring(self.shown)}
        self.resources = {
            "routes": [
                {"uri": "/*", "upstream": {"scheme": "https", "nodes": node, "pass_host": "node", "tls": tls}},
            ],
            "ssls": [self.ssl],
        }
        self.gateway = Gateway(
            folder / "gateway",
            self.resources,
            {"apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": self.port}]}}},
            workers=2,
        )

    def names(self) -> set[tuple[str, ...]]:
        """In the certificates of some handshakes."""
        found = set()
        for _ in range(4):
            with connect(self.port, "a.test") as client:
                found.add(tuple(client.names))
        return found

    def told(self) -> tuple[int, str]:
        with connect(self.port, "a.test") as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            answer = client.read_response()
            return answer.status, answer.body.decode()

    def stale(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.gateway.status("/status/details")[1]["secrets"]["stale"]
        return found


def tell(up: RawConnection) -> None:
    tls = up.sock
    assert isinstance(tls, ssl.SSLSocket)
    up.read_request()
    subject = dict(pair for part in (tls.getpeercert() or {})["subject"] for pair in part)
    up.send(response(subject["commonName"].encode(), headers=[("Connection", "close")]))


def referring(pair: Pair) -> dict[str, str]:
    return {"cert": f"$file://{pair.cert}", "key": f"$file://{pair.key}"}


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("files"))
    yield made
    made.gateway.stop()
    made.upstream.stop()


def test_a_certificate_is_renewed_once_its_key_is_there(served: Served) -> None:
    before = served.names()
    assert before == {("first.test",)}
    with connect(served.port, "a.test") as client:
        new = served.authority.issue("new", ("second.test",))
        os.replace(new.cert, served.shown.cert)
        until(served.stale)
        [stale] = served.stale()
        assert stale["reference"] == f"$file://{served.shown.cert}"
        assert stale["message"].endswith("isn't the key of " + f"{served.shown.cert}; the pair of before stays in use")
        assert served.names() == before
        os.replace(new.key, served.shown.key)
        until(lambda: served.names() == {("second.test",)})
        assert not served.stale()
        assert client.get("a.test") == 200  # begun with the old one
    served.shown.cert.rename(served.shown.cert.with_suffix(".away"))
    until(served.stale)
    assert served.names() == {("second.test",)}
    served.shown.cert.with_suffix(".away").rename(served.shown.cert)
    until(lambda: not served.stale())


def test_a_worker_that_starts_meanwhile_has_the_pair_of_before(served: Served) -> None:
    before = served.names()
    new = served.authority.issue("new2", ("third.test",))
    os.replace(new.key, served.shown.key)
    until(served.stale)
    pids = served.gateway.worker_pids()
    os.kill(pids[0], 9)
    until(lambda: len(set(served.gateway.worker_pids()) - {pids[0]}) == 2)
    until(lambda: served.gateway.status()[0] == 200)
    assert served.names() == before
    os.replace(new.cert, served.shown.cert)
    until(lambda: served.names() == {("third.test",)})


def test_towards_upstreams(served: Served) -> None:
    assert served.told() == (200, "own")
    new = served.authority.issue("renewed")
    os.replace(new.key, served.own.key)
    until(served.stale)
    assert served.told() == (200, "own")
    os.replace(new.cert, served.own.cert)
    until(lambda: served.told() == (200, "renewed"))
    other = Certificates(served.ca.parent / "other")
    right = served.ca.read_bytes()
    served.ca.write_bytes(other.ca.cert.read_bytes())
    until(lambda: served.told()[0] == 502)
    served.ca.write_bytes(right)
    until(lambda: served.told() == (200, "renewed"))


def test_a_pair_that_never_fitted_is_refused_with_its_place(served: Served) -> None:
    bad = {"cert": f"$file://{served.own.cert}", "key": f"$file://{served.authority.client.key}"}
    served.gateway.reload({**served.resources, "ssls": [served.ssl, {"id": "2", "sni": "b.test", **bad}]})
    [refused] = served.gateway.status("/status/details")[1]["refused"]
    assert (refused["id"], refused["path"]) == ("2", "$.key")
    assert "doesn't belong to the certificate" in refused["message"]
    assert len(served.names()) == 1
    served.gateway.reload(served.resources)
