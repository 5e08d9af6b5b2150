from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bascule.engine.tls_variables import TLS_VARIABLES
from tests.servers.certificates import Certificates


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Certificates(tmp_path_factory.mktemp("c")).client.cert.read_bytes())


def exchange(der: bytes | None, verify_error: str = "") -> Any:
    return SimpleNamespace(tls=SimpleNamespace(peer_certificate=der, shown=der is not None, verify_error=verify_error))


def test_a_client_certificate(certificate: x509.Certificate) -> None:
    x = exchange(certificate.public_bytes(Encoding.DER))
    found = {name: read(x) for name, read in TLS_VARIABLES.items() if name.startswith("ssl_client_")}
    assert found["ssl_client_verify"] == "SUCCESS"
    assert found["ssl_client_s_dn"] == "CN=client"
    assert found["ssl_client_i_dn"] == "CN=tests' authority"
    assert int(found["ssl_client_serial"], 16) == certificate.serial_number
    assert len(found["ssl_client_fingerprint"]) == 40
    assert found["ssl_client_raw_cert"] == certificate.public_bytes(Encoding.PEM).decode()
    assert "\n\t" in found["ssl_client_cert"]
    assert found["ssl_client_escaped_cert"].startswith("-----BEGIN%20CERTIFICATE-----%0A")
    assert found["ssl_client_v_remain"] == 0
    assert found["ssl_client_v_end"].endswith(" GMT")


def test_without_a_certificate_or_with_one_that_cannot_be_read() -> None:
    for der in (None, b"junk"):
        assert TLS_VARIABLES["ssl_client_s_dn"](exchange(der)) is None
    assert TLS_VARIABLES["ssl_client_verify"](exchange(None)) == "NONE"
    assert TLS_VARIABLES["ssl_client_verify"](exchange(b"x", "expired")) == "FAILED:expired"


def test_without_tls() -> None:
    assert {read(SimpleNamespace(tls=None)) for read in TLS_VARIABLES.values()} == {None}
