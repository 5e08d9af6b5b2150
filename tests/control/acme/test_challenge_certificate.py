import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bascule.control.acme.challenge_certificate import ACME_IDENTIFIER, challenge_certificate, pem_of


def test_the_certificate() -> None:
    text, key = challenge_certificate("a.test", "T1.print")
    certificate = x509.load_pem_x509_certificate(text.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("a.test")]
    shown = certificate.extensions.get_extension_for_oid(ACME_IDENTIFIER)
    assert shown.critical
    assert shown.value.public_bytes() == b"\x04\x20" + hashlib.sha256(b"T1.print").digest()
    assert load_pem_private_key(key.encode(), None).public_key() == certificate.public_key()


def test_a_key_as_text() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert pem_of(key).startswith("-----BEGIN PRIVATE KEY-----\n")
    assert load_pem_private_key(pem_of(key).encode(), None).public_key() == key.public_key()
