import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bascule.control.acme.challenges import ACME_IDENTIFIER, Challenge, answered


def test_http() -> None:
    pending = [Challenge("a.test", "T1", "T1.print"), Challenge("b.test", "T2", "T2.print")]
    found = answered(pending, "http-01")
    assert found.answers == {
        b"/.well-known/acme-challenge/T1": b"T1.print",
        b"/.well-known/acme-challenge/T2": b"T2.print",
    }
    assert found.certificates == {}


def test_tls() -> None:
    found = answered([Challenge("a.test", "T1", "T1.print")], "tls-alpn-01")
    assert found.answers == {}
    text, key = found.certificates["a.test"]
    certificate = x509.load_pem_x509_certificate(text.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("a.test")]
    shown = certificate.extensions.get_extension_for_oid(ACME_IDENTIFIER)
    assert shown.critical
    assert shown.value.public_bytes() == b"\x04\x20" + hashlib.sha256(b"T1.print").digest()
    assert load_pem_private_key(key.encode(), None).public_key() == certificate.public_key()
