"""Certificates and keys of resources: do they parse, and do they belong together? Expired ones are allowed.

cryptography is imported by the first certificate: workers start sooner, and without one are smaller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bascule.model.ssl import Ssl
from bascule.model.upstream import UpstreamTls
from bascule.snapshot.faults import Faults
from bascule.snapshot.references import is_reference

if TYPE_CHECKING:
    from cryptography import x509

_NO_CERT = "failed to parse cert: PEM_read_bio_X509_AUX() failed"
_NO_KEY = "failed to parse key: PEM_read_bio_PrivateKey() failed"
_SEALED = "failed to decrypt previous encrypted key"  # APISIX takes what isn't PEM for what it sealed
_MISMATCH = "failed to parse key: the key and the cert don't belong together"
Parts = tuple[str | int, ...]


def check_ssl(ssl: Ssl, faults: Faults) -> None:
    """The pair, the further pairs, and what clients are checked by."""
    _check_pair(ssl.cert, ssl.key, ("cert",), ("key",), "", faults)
    for index, (cert, key) in enumerate(zip(ssl.certs or (), ssl.keys or (), strict=True)):
        before = f"failed to handle cert-key pair[{index + 1}]: "
        _check_pair(cert, key, ("certs", index), ("keys", index), before, faults)
    if ssl.client is not None and not is_reference(ssl.client.ca) and not _certificates(ssl.client.ca):
        faults.add(("client", "ca"), _sentence(ssl.client.ca, "certificate"), _NO_CERT, semantic=True)


def check_tls(tls: UpstreamTls | None, parts: Sequence[str | int], faults: Faults) -> None:
    """The certificate that an upstream is shown, and those it is checked by. `parts`: where the upstream stands."""
    if tls is None:
        return
    at = (*parts, "tls")
    authorities = tls.ca_certs
    if authorities is not None and not is_reference(authorities) and not _certificates(authorities):
        faults.add((*at, "ca_certs"), _sentence(authorities, "certificate"), _NO_CERT, semantic=True)
    if tls.client_cert is not None and tls.client_key is not None:
        _check_pair(tls.client_cert, tls.client_key, (*at, "client_cert"), (*at, "client_key"), "", faults)


def _check_pair(cert: str, key: str, cert_at: Parts, key_at: Parts, before: str, faults: Faults) -> None:
    """A secret reference is somebody else's to check. `before`: how APISIX begins its text."""
    referred = is_reference(cert)
    certificates = [] if referred else _certificates(cert)
    if not certificates and not referred:
        faults.add(cert_at, _sentence(cert, "certificate"), before + _NO_CERT, semantic=True)
    if is_reference(key):
        return
    public = _public_key(key)
    if public is None:
        text = _NO_KEY if key.startswith("---") else _SEALED
        faults.add(key_at, _sentence(key, "private key"), before + text, semantic=True)
    elif certificates and public != _spki(certificates[0]):
        faults.add(key_at, "doesn't belong to the certificate", before + _MISMATCH, semantic=True)


def staple_key(chain: str) -> bytes:
    """What the OCSP response for the first certificate of a PEM chain is kept under."""
    return hashlib.sha256(chain.encode()).digest()


def belong_together(cert: str, key: str) -> bool:
    """Whether both can be read, and the key is that of the first certificate."""
    certificates = _certificates(cert)
    return bool(certificates) and _public_key(key) == _spki(certificates[0])


def _certificates(pem: str) -> list[x509.Certificate]:
    """Empty when one of them can't be read."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        return []


def _spki(certificate: x509.Certificate) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):  # of a kind of key that this OpenSSL doesn't know
        return b""


def _public_key(pem: str) -> bytes | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        # Whether an RSA key's numbers are prime is a question of 50 ms; that it fits its certificate is what counts.
        key = serialization.load_pem_private_key(pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        return None
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _sentence(pem: str, what: str) -> str:
    if "-----BEGIN" not in pem:
        return f"is no {what}: PEM text begins with -----BEGIN"
    if "ENCRYPTED" in pem:
        return f"is an encrypted {what}: store it without a passphrase"
    return f"is no {what} that can be read"
