"""OCSP stapling, from a responder to what clients are shown."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ocsp

from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.ocsp import OcspResponder
from tests.servers.ports import free_port

BARE = {**os.environ, "LD_PRELOAD": ""}  # without the sanitizer's runtime


class Served:
    def __init__(self, folder: Path) -> None:
        self.responder = OcspResponder(Certificates(folder / "certs"))
        self.ca = self.responder.authority.ca.cert
        self.first = self.responder.issue("first", ("a.test", "localhost"))
        self.port = free_port()
        self.gateway = Gateway(
            folder / "gateway",
            self.resources(self.first),
            {"apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": self.port}]}}},
            workers=2,
        )

    def resources(self, pair: dict[str, str]) -> dict[str, Any]:
        on = {"ocsp_stapling": {"enabled": True, "cache_ttl": 60}}
        return {
            "ssls": [
                {"id": "1", "sni": "a.test", **pair, **on},
                {"id": "2", "sni": "plain.test", **pair},
            ]
        }

    def shown(self, name: str = "a.test") -> str:
        """What openssl says of the staple."""
        argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-servername", name, "-status"]
        argv += ["-CAfile", str(self.ca)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=BARE, timeout=30, check=False)
        return done.stdout.decode(errors="replace")

    def until_all_show(self, holds: Callable[[str], bool]) -> None:
        """Several handshakes in a row, since each goes to any worker."""
        deadline = time.monotonic() + 30
        while not all(holds(self.shown()) for _ in range(4)):
            assert time.monotonic() < deadline, self.shown()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("ocsp"))
    yield made
    made.gateway.stop()
    made.responder.stop()


def good(text: str) -> bool:
    return "Cert Status: good" in text and "OCSP Response Status: successful" in text


def bare(text: str) -> bool:
    return "OCSP response: no response sent" in text


def test_clients_that_ask_are_shown_the_response(served: Served) -> None:
    served.until_all_show(good)
    assert bare(served.shown("plain.test"))
    assert served.gateway.status("/status/details")[1]["ocsp"] == {"certificates": 1, "stapled": 1, "trouble": []}
    # One that checks by itself: nothing but the staple tells it.
    url = f"https://a.test:{served.port}/"
    argv = ["curl", "-sS", "--cert-status", "--cacert", str(served.ca), "--resolve", f"a.test:{served.port}:127.0.0.1"]
    done = subprocess.run(
        [*argv, "-o", "/dev/null", "-w", "%{http_code}", url], capture_output=True, env=BARE, timeout=30
    )
    assert (done.stdout, done.stderr) == (b"404", b"")


def test_a_worker_that_starts_has_it(served: Served) -> None:
    served.until_all_show(good)
    asked = len(served.responder.requests)
    served.gateway.configure({"nginx_config": {"worker_shutdown_timeout": "1s"}})
    before = served.gateway.worker_pids()
    served.gateway.process.popen.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while set(served.gateway.worker_pids()) & set(before) or len(served.gateway.worker_pids()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert all(good(served.shown()) for _ in range(4))
    assert len(served.responder.requests) == asked


def test_another_certificate_has_its_own_or_none(served: Served) -> None:
    served.responder.status = ocsp.OCSPCertStatus.REVOKED
    served.gateway.reload(served.resources(served.responder.issue("second", ("a.test",))))
    served.until_all_show(bare)
    deadline = time.monotonic() + 20
    while not (trouble := served.gateway.status("/status/details")[1]["ocsp"]["trouble"]):
        assert time.monotonic() < deadline
    assert trouble == [
        {"ssl": "1", "message": "no OCSP response: the responder says that the certificate is revoked"},
    ]
    assert "ssls/1: no OCSP response" in served.gateway.log
    served.responder.status = ocsp.OCSPCertStatus.GOOD
    served.gateway.reload(served.resources(served.responder.issue("third", ("a.test",))))
    served.until_all_show(good)
