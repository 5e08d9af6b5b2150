"""What a QUIC connection shows its client: the same certificates as TLS over TCP, in the form that aioquic takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aioquic.tls import (
    Alert,
    AlertDescription,
    AlertHandshakeFailure,
    AlertProtocolVersion,
    ClientHello,
    Context,
    load_pem_private_key,
    load_pem_x509_certificates,
)
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from bascule.snapshot.compiled_ssl import CompiledSsl


class UnrecognizedName(Alert):
    description = AlertDescription.unrecognized_name


class Shown:
    """TLS of one connection, with the attributes that requests read from net/tls.Tls."""

    protocol = "TLSv1.3"
    session_id = ""
    resumed = False
    http2 = False
    alpn = "h3"
    peer_certificate = None
    verify_error = None

    def __init__(self, identity: Any, server_name: str | None, local_host: str) -> None:
        self.identity = identity
        self.server_name = server_name
        self.local_host = local_host
        self.cipher = ""


class Identities:
    """`find`: Engine.identity."""

    def __init__(self, find: Callable[[str | None], Any]) -> None:
        self._find = find
        self._parsed: dict[str, tuple[CompiledSsl, list[tuple[list[Any], Any]]]] = {}

    def show(self, tls: Context, hello: ClientHello, local_host: str) -> Shown:
        """Sets the certificate that this client is to see. Raises Alert: no certificate, or one that it can't check;
        one whose clients must show one of theirs, too, which isn't asked for here: they come over TCP then."""
        name = None if hello.server_name is None else hello.server_name.lower()
        identity = self._find(name)
        if identity is None:
            raise UnrecognizedName("no certificate for this name")
        ssl: CompiledSsl = identity.source
        if ssl.client_ca is not None:
            raise AlertHandshakeFailure("client certificates aren't asked for over HTTP/3")
        if ssl.protocols and "TLSv1.3" not in ssl.protocols:
            raise AlertProtocolVersion("TLS 1.3 isn't served for this name")
        for chain, key in self._pairs(ssl):
            tls.certificate_private_key = key
            if set(tls._signature_algorithms_for_private_key()) & set(hello.signature_algorithms or ()):
                tls.certificate, tls.certificate_chain = chain[0], chain[1:]
                return Shown(identity, name, local_host)
        raise AlertHandshakeFailure("no certificate that the client can check")

    def _pairs(self, ssl: CompiledSsl) -> Sequence[tuple[list[Any], Any]]:
        """ECDSA first: it costs the least."""
        known = self._parsed.get(ssl.id)
        if known is None or known[0] is not ssl:
            pairs = [
                (load_pem_x509_certificates(chain.encode()), load_pem_private_key(key.encode()))
                for chain, key in ssl.pairs
            ]
            pairs.sort(key=lambda pair: not isinstance(pair[1], EllipticCurvePrivateKey))
            known = self._parsed[ssl.id] = (ssl, pairs)
        return known[1]
