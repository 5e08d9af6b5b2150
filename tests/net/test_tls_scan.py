"""What testssl.sh, the scanner of TLS servers, says of the gateway."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port

BARE = {**os.environ, "LD_PRELOAD": ""}  # without the sanitizer's runtime


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    gateway = Gateway(
        tmp_path / "gateway",
        {"ssls": [{"id": "1", "sni": "a.test", **Certificates(tmp_path).issue("a", ("a.test",)).texts}]},
        {"apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": port}]}}},
    )
    yield port
    gateway.stop()


def test_no_finding_is_grave(port: int, tmp_path: Path) -> None:
    """Protocols, kinds of ciphers, and the known attacks."""
    report = tmp_path / "report.json"
    argv = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--jsonfile", str(report)]
    argv += ["--protocols", "--std", "--heartbleed", "--ccs-injection", "--ticketbleed", "--renegotiation", "--crime"]
    argv += ["--poodle", "--tls-fallback", "--freak", "--logjam", "--drown", f"a.test:{port}"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=BARE, timeout=300, check=False)
    assert report.exists(), done.stdout[-2000:]
    found = {one["id"]: (one["severity"], one["finding"]) for one in json.loads(report.read_text())}
    assert {id: one for id, one in found.items() if one[0] in ("HIGH", "CRITICAL", "FATAL")} == {}
    for old in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
        assert found[old][1].startswith("not offered"), old
    for new in ("TLS1_2", "TLS1_3"):
        assert found[new][1].startswith("offered"), new
    for attack in ("heartbleed", "CCS", "ticketbleed", "secure_client_renego", "CRIME_TLS", "POODLE_SSL"):
        assert found[attack][0] == "OK", (attack, found[attack])
