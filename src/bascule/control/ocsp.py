"""OCSP (RFC 6960, RFC 5019): what to ask of a certificate's responder, and whether its answer may be stapled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

SKEW = timedelta(minutes=5)  # clocks differ


class OcspFailure(Exception):
    """No answer that may be stapled; the message says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """`body`: the request, DER; `url`: the responder's."""

    url: str
    body: bytes
    serial: int
    issuer: x509.Certificate


def question(chain: str) -> Question:
    """About the first certificate of a PEM chain; the second is its issuer's. Raises OcspFailure."""
    try:
        leaf, *others = x509.load_pem_x509_certificates(chain.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise OcspFailure("the certificate can't be read") from None
    if not others:
        raise OcspFailure("the issuer's certificate doesn't follow the server's")
    try:
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        access = x509.AuthorityInformationAccess([])
    urls = [one.access_location.value for one in access if one.access_method == AuthorityInformationAccessOID.OCSP]
    url = next((url for url in urls if isinstance(url, str) and url.startswith(("http://", "https://"))), None)
    if url is None:
        raise OcspFailure("the certificate names no responder")
    # SHA-1 names the issuer here and protects nothing; responders know no other (RFC 5019, 2.1.1).
    request = ocsp.OCSPRequestBuilder().add_certificate(leaf, others[0], hashes.SHA1()).build()
    return Question(url, request.public_bytes(Encoding.DER), leaf.serial_number, others[0])


def judge(asked: Question, body: bytes, now: datetime, *, skip_verify: bool) -> datetime | None:
    """Until when the answer holds; None if it doesn't say. `skip_verify`: only that it is one. Raises OcspFailure."""
    try:
        answer = ocsp.load_der_ocsp_response(body)
        if answer.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise OcspFailure(f"the responder says {answer.response_status.name.lower()}")
        if not skip_verify:
            _check(asked, answer, now)
        return answer.next_update_utc
    except (ValueError, UnsupportedAlgorithm) as error:
        raise OcspFailure(f"the answer can't be read: {error}") from None


def _check(asked: Question, answer: ocsp.OCSPResponse, now: datetime) -> None:
    if answer.serial_number != asked.serial:
        raise OcspFailure("the answer is about another certificate")
    if answer.certificate_status != ocsp.OCSPCertStatus.GOOD:
        raise OcspFailure(f"the responder says that the certificate is {answer.certificate_status.name.lower()}")
    until = answer.next_update_utc
    if answer.this_update_utc > now + SKEW:
        raise OcspFailure("the answer isn't valid yet")
    if until is not None and until <= now:
        raise OcspFailure("the answer isn't valid any more")
    signers = [asked.issuer, *(one for one in answer.certificates if _may_sign(one, asked.issuer, now))]
    if not any(_signed_by(answer, signer) for signer in signers):
        raise OcspFailure("the answer isn't signed by the issuer, nor by whom it lets sign")


def _may_sign(responder: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    """Whether the issuer lets it sign answers (RFC 6960, 4.2.2.2)."""
    if not responder.not_valid_before_utc <= now <= responder.not_valid_after_utc:
        return False
    try:
        usages = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        responder.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usages


def _signed_by(answer: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, algorithm = signer.public_key(), answer.signature_hash_algorithm
    try:
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes)
        elif algorithm is None:
            return False
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(algorithm))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
