"""Variables of the client's TLS connection, by nginx's names.

cryptography is imported by the first variable that needs it: workers start sooner, and without it are smaller.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509


def _of_tls(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """None without TLS."""
    return lambda exchange: None if exchange.tls is None else read(exchange.tls)


def _of_certificate(read: Callable[[x509.Certificate], Any]) -> Callable[[Any], Any]:
    """None without a client certificate, or with one that can't be read."""

    def variable(tls: Any) -> Any:
        der = tls.peer_certificate
        if der is None:
            return None
        from cryptography import x509

        try:
            return read(x509.load_der_x509_certificate(der))
        except ValueError:
            return None

    return _of_tls(variable)


def _verify(tls: Any) -> str:
    if not tls.shown:
        return "NONE"
    return f"FAILED:{tls.verify_error}" if tls.verify_error else "SUCCESS"


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _fingerprint(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import hashes

    return certificate.fingerprint(hashes.SHA1()).hex()


def _date(moment: datetime) -> str:
    return moment.strftime("%b %e %H:%M:%S %Y GMT")


TLS_VARIABLES: dict[str, Callable[[Any], Any]] = {
    "ssl_protocol": _of_tls(lambda tls: tls.protocol),
    "ssl_cipher": _of_tls(lambda tls: tls.cipher),
    "ssl_server_name": _of_tls(lambda tls: tls.server_name),
    "ssl_session_id": _of_tls(lambda tls: tls.session_id or None),
    "ssl_session_reused": _of_tls(lambda tls: "r" if tls.resumed else "."),
    "ssl_alpn_protocol": _of_tls(lambda tls: getattr(tls, "alpn", None) or ("h2" if tls.http2 else "http/1.1")),
    "ssl_client_verify": _of_tls(_verify),
    "ssl_client_raw_cert": _of_certificate(_pem),
    "ssl_client_cert": _of_certificate(lambda c: _pem(c).strip().replace("\n", "\n\t")),
    "ssl_client_escaped_cert": _of_certificate(lambda c: urllib.parse.quote(_pem(c), safe="")),
    "ssl_client_s_dn": _of_certificate(lambda c: c.subject.rfc4514_string()),
    "ssl_client_i_dn": _of_certificate(lambda c: c.issuer.rfc4514_string()),
    "ssl_client_serial": _of_certificate(lambda c: f"{c.serial_number:X}"),
    "ssl_client_fingerprint": _of_certificate(_fingerprint),
    "ssl_client_v_start": _of_certificate(lambda c: _date(c.not_valid_before_utc)),
    "ssl_client_v_end": _of_certificate(lambda c: _date(c.not_valid_after_utc)),
    "ssl_client_v_remain": _of_certificate(lambda c: (c.not_valid_after_utc - datetime.now(UTC)).days),
}
