"""Certificates obtained from an authority that looks at a real gateway."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.servers.acme import AcmeServer, Problem
from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.process import ServerFailed

WAIT_S = 40


@contextmanager
def running(tmp_path: Path, names: list[Any], **options: Any) -> Iterator["Served"]:
    served = Served(tmp_path, names, options)
    try:
        yield served
    finally:
        served.gateway.stop()
        served.server.stop()


class Served:
    def __init__(self, folder: Path, names: list[Any], options: dict[str, Any]) -> None:
        self.certificates = Certificates(folder / "authority")
        self.server = AcmeServer(self.certificates)
        self.tls_port = free_port()
        self.store = folder / "gateway" / "data"
        resources = options.pop("resources", {"routes": []})
        workers = options.pop("workers", 1)
        refused = options.pop("prepare", None)
        if refused is not None:
            refused(self.server)
        section = {
            "directory": self.server.directory,
            "ca_file": str(self.certificates.ca.cert),
            "agree_to_terms": True,
            "email": "ops@a.test",
            "names": names,
            "retry": 0.2,
            **options,
        }
        self.server.tls_port = self.tls_port
        self.gateway = Gateway(
            folder / "gateway",
            resources,
            config={
                "apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": self.tls_port}]}},
                "bascule": {"acme": section},
            },
            workers=workers,
            wait=False,
        )
        self.server.http_port = self.gateway.port
        self.gateway.process.wait_line(" workers=", timeout_s=30)

    def shown(self, name: str) -> x509.Certificate | None:
        """What a client that trusts the authority sees; None: nothing serves the name."""
        context = ssl.create_default_context(cafile=str(self.certificates.ca.cert))
        try:
            with (
                socket.create_connection(("127.0.0.1", self.tls_port), timeout=10) as raw,
                context.wrap_socket(raw, server_hostname=name) as tls,
            ):
                der = tls.getpeercert(binary_form=True)
        except ssl.SSLError as error:
            if error.reason != "TLSV1_UNRECOGNIZED_NAME":
                raise
            return None
        assert der
        return x509.load_der_x509_certificate(der)

    def wait_shown(self, name: str) -> x509.Certificate:
        found: list[x509.Certificate] = []

        def look() -> bool:
            certificate = self.shown(name)
            if certificate is not None:
                found.append(certificate)
            return certificate is not None

        self.wait(look)
        return found[0]

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            self.gateway.process.check_alive()
            assert time.monotonic() < deadline, self.gateway.log
            time.sleep(0.05)

    def told(self) -> list[dict[str, Any]]:
        certificates = self.gateway.status("/status/details")[1]["certificates"]
        assert isinstance(certificates, list)
        return certificates


@pytest.mark.parametrize("kind", ["http-01", "tls-alpn-01"])
def test_a_certificate_is_obtained_and_kept(kind: str, tmp_path: Path) -> None:
    names = [["a.test", "www.a.test"], "b.test"]
    with running(tmp_path, names, challenge=kind, workers=2, prepare=lambda s: setattr(s, "bad_nonces", 1)) as served:
        certificate = served.wait_shown("www.a.test")
        assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
        served.wait_shown("b.test")
        assert served.shown("c.test") is None
        assert sorted(served.server.looks) == [(kind, "a.test"), (kind, "b.test"), (kind, "www.a.test")]
        assert [account.contact for account in served.server.accounts] == [["mailto:ops@a.test"]]
        assert "certificate for a.test, www.a.test: obtained, valid until" in served.gateway.log

        first, _ = served.told()
        assert first["names"] == ["a.test", "www.a.test"]
        assert first["trouble"] is None
        assert first["until"] > first["next"]

        ends = certificate.not_valid_after_utc.timestamp()
        assert f'bascule_certificate_expiry_seconds{{name="www.a.test"}} {ends:.0f}\n' in served.gateway.metrics()

        # Nothing is answered any more, and what was never asked isn't.
        with served.gateway.client() as client:
            token = "x"
            client.send(f"GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
            assert client.read_response().status == 404
        files = sorted(served.store.rglob("*.*"))
        assert {"account.json", "a.test.pem", "b.test.pem"} <= {file.name for file in files}
        assert {file.stat().st_mode & 0o777 for file in files if file.is_file()} == {0o600}

        # The next start has them at once, and asks for nothing.
        before = len(served.server.requests)
        served.gateway.restart()
        again = served.shown("a.test")
        assert again is not None
        assert again.serial_number == certificate.serial_number
        assert len(served.server.requests) == before


def test_certificates_are_renewed_in_time(tmp_path: Path) -> None:
    def short(server: AcmeServer) -> None:
        """Half its life is over soon after the certificate is issued."""
        server.life_s, server.age_s = 240.0, 117.0

    with running(tmp_path, ["a.test"], renew_before="1h", key="rsa", prepare=short) as served:
        first = served.wait_shown("a.test")
        assert isinstance(first.public_key(), rsa.RSAPublicKey)
        served.wait(lambda: served.wait_shown("a.test").serial_number != first.serial_number)
        assert "renewed" in served.gateway.log
        assert len(served.server.accounts) == 1


def test_an_authority_that_refuses_is_asked_again(tmp_path: Path) -> None:
    def refusing(server: AcmeServer) -> None:
        limited = Problem("rateLimited", "too many certificates", 429, {"Retry-After": "2"})
        server.refusals += [("/new-order", Problem("serverInternal", "down for repair", 500)), ("/new-order", limited)]

    with running(tmp_path, ["a.test"], prepare=refusing) as served:
        served.wait(lambda: "rateLimited: too many certificates" in str(served.told()[0]["trouble"]))
        limited = time.monotonic()
        served.wait_shown("a.test")
        assert time.monotonic() - limited > 1
        assert "the authority refuses: serverInternal: down for repair; tried again in 0 s" in served.gateway.log
        assert served.told()[0]["trouble"] is None


def test_a_written_item_goes_before(tmp_path: Path) -> None:
    own = Certificates(tmp_path / "own").issue("own", ("a.test",))
    with running(
        tmp_path, ["a.test", "b.test"], resources={"ssls": [{"id": 1, "sni": "a.test", **own.texts}]}
    ) as served:
        served.wait_shown("b.test")
        context = ssl.create_default_context(cafile=str(own.cert))
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", served.tls_port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="a.test") as tls,
        ):
            shown = tls.getpeercert(binary_form=True)
        assert shown
        assert x509.load_der_x509_certificate(shown) == x509.load_pem_x509_certificate(own.cert.read_bytes())


def test_an_account_of_ones_own_at_the_authority(tmp_path: Path) -> None:
    key = "c2VjcmV0LWtleS1vZi10aGUtYXV0aG9yaXR5"

    def binding(server: AcmeServer) -> None:
        server.bindings["me"] = key

    with running(tmp_path, ["a.test"], prepare=binding, eab={"kid": "me", "hmac_key": key}) as served:
        served.wait_shown("a.test")
        assert [account.bound_to for account in served.server.accounts] == ["me"]


def test_an_authority_that_cannot_be_reached(tmp_path: Path) -> None:
    with running(tmp_path, ["a.test"], directory=f"https://127.0.0.1:{free_port()}/directory") as served:
        served.wait(lambda: served.told()[0]["trouble"] is not None)
        assert "can't be asked: " in served.told()[0]["trouble"]
        assert served.told()[0]["until"] is None


def test_an_authority_whose_certificate_is_not_trusted(tmp_path: Path) -> None:
    other = Certificates(tmp_path / "other").ca.cert
    with running(tmp_path, ["a.test"], ca_file=str(other)) as served:
        served.wait(lambda: served.told()[0]["trouble"] is not None)
        assert "certificate verify failed" in served.told()[0]["trouble"].lower()


def test_what_cannot_be_done_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"bascule\.acme\.ca_file: .*missing\.crt can't be read"):
        Gateway(
            tmp_path,
            config={
                "apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": free_port()}]}},
                "bascule": {"acme": {"names": ["a.test"], "agree_to_terms": True, "ca_file": "missing.crt"}},
            },
        )
