"""A client over TLS, by Python's ssl."""

import socket
import ssl
from typing import Any

from cryptography import x509

from tests.servers.raw import RawConnection


def blind(**changes: Any) -> ssl.SSLContext:
    """A client's context that checks nothing; `changes` of its attributes."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in changes.items():
        setattr(context, name, value)
    return context


class TlsConnection(RawConnection):
    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
        self.tls = sock

    def __enter__(self) -> "TlsConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, host: str, path: str = "/") -> int:
        self.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return self.read_response().status

    @property
    def certificate(self) -> x509.Certificate:
        der = self.tls.getpeercert(binary_form=True)
        assert der
        return x509.load_der_x509_certificate(der)

    @property
    def names(self) -> list[str]:
        found = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return found.value.get_values_for_type(x509.DNSName)


def connect(port: int, name: str | None, context: ssl.SSLContext | None = None, **options: Any) -> TlsConnection:
    """`options`: of wrap_socket."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    try:
        return TlsConnection((context or blind()).wrap_socket(raw, server_hostname=name, **options))
    except BaseException:
        raw.close()
        raise
