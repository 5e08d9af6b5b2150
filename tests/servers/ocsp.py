"""A responder: what an authority says of its certificates, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from tests.servers.certificates import Certificates, Key
from tests.servers.web import JsonServer


class Signer(NamedTuple):
    """Who signs the answers; a certificate that isn't the authority's goes with them."""

    certificate: x509.Certificate
    key: Key


class OcspResponder(JsonServer):
    """`status`: of every certificate of the authority, None: nothing but HTTP errors; `validity`: from now on."""

    def __init__(self, authority: Certificates) -> None:
        self.authority = authority
        self.status: ocsp.OCSPCertStatus | None = ocsp.OCSPCertStatus.GOOD
        self.validity = timedelta(hours=1)
        self.signer = Signer(authority.ca_certificate, authority.ca_key)
        self._issued: dict[int, x509.Certificate] = {}
        super().__init__()

    def issue(self, name: str, names: tuple[str, ...] = (), **options: Any) -> dict[str, str]:
        """A certificate that names this responder, with its issuer's, and its key: as in an `ssls` item."""
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(self.url))
        pair = self.authority.issue(name, names, more=[x509.AuthorityInformationAccess([access])], **options)
        certificate = x509.load_pem_x509_certificate(pair.cert.read_bytes())
        self._issued[certificate.serial_number] = certificate
        return {"cert": pair.cert.read_text() + self.authority.ca.cert.read_text(), "key": pair.key.read_text()}

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        if method != "POST" or headers.get("content-type") != "application/ocsp-request" or self.status is None:
            return 503, b"no"
        return 200, self.response(ocsp.load_der_ocsp_request(body).serial_number)

    def response(self, serial: int) -> bytes:
        """DER."""
        certificate = self._issued.get(serial)
        if certificate is None or self.status is None:
            failed = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
            return failed.public_bytes(serialization.Encoding.DER)
        now = datetime.now(UTC)
        revoked = self.status is ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=certificate,
            issuer=self.authority.ca_certificate,
            algorithm=hashes.SHA1(),
            cert_status=self.status,
            this_update=now - timedelta(hours=2),
            next_update=now + self.validity,
            revocation_time=now - timedelta(hours=1) if revoked else None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self.signer.certificate)
        if self.signer.certificate != self.authority.ca_certificate:
            builder = builder.certificates([self.signer.certificate])
        return builder.sign(self.signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def delegate(authority: Certificates, usage: x509.ObjectIdentifier, name: str = "delegate") -> Signer:
    """One that the authority has signed, for this use of its key."""
    pair = authority.issue(name, more=[x509.ExtendedKeyUsage([usage])])
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    return Signer(x509.load_pem_x509_certificate(pair.cert.read_bytes()), key)  # type: ignore[arg-type]
