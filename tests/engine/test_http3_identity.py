"""Which certificate a client sees over HTTP/3."""

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers.certificates import Certificates, Pair
from tests.servers.http3 import http3, http3_gateway


def shown(port: int, certificates: Certificates, name: str | None) -> str:
    """The common name of the certificate, and what answers a request for the name."""

    async def whole() -> str:
        async with http3(port, certificates.ca.cert, name) as peer:
            subject = peer._quic.tls._peer_certificate.subject.rfc4514_string()  # type: ignore[union-attr]
            answer = await peer.get("/", authority=name or "a.example")
            return f"{subject} {answer.status}"

    return asyncio.run(whole())


def test_certificates_are_chosen_by_name(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "certificates")
    key = rsa.generate_private_key(65537, 2048)
    ecdsa: Pair = certificates.issue("ecdsa", ("a.example",))
    other: Pair = certificates.issue("rsa", ("b.example", "sub.c.example"), key=key)
    asking: Pair = certificates.issue("asking", ("mtls.example",))
    old: Pair = certificates.issue("old", ("old.example",))
    resources = {
        "ssls": [
            {"id": "a", "sni": "a.example", **ecdsa.texts},
            {"id": "b", "snis": ["b.example", "*.c.example"], **other.texts},
            {"id": "m", "sni": "mtls.example", **asking.texts, "client": {"ca": certificates.ca.cert.read_text()}},
            {"id": "o", "sni": "old.example", **old.texts, "ssl_protocols": ["TLSv1.2"]},
        ],
        "routes": [{"id": "1", "uri": "/*", "plugins": {"mocking": {"response_example": "hello"}}}],
    }
    with http3_gateway(tmp_path, resources, certificates=certificates) as (gateway, port, _):
        assert shown(port, certificates, "a.example") == "CN=ecdsa 200"
        assert shown(port, certificates, "b.example") == "CN=rsa 200"
        assert shown(port, certificates, "sub.c.example") == "CN=rsa 200"
        for refused in ("nobody.example", "mtls.example", "old.example"):
            with pytest.raises(ConnectionError):
                shown(port, certificates, refused)

        async def around() -> int:
            async with http3(port, certificates.ca.cert, "a.example") as peer:
                return (await peer.get("/", authority="mtls.example")).status

        # A connection for another name doesn't get around the certificate that this one asks for.
        assert asyncio.run(around()) == 400
        # A certificate that is replaced is shown to the next client.
        fresh = certificates.issue("fresh", ("a.example",))
        gateway.reload(resources | {"ssls": [{"id": "a", "sni": "a.example", **fresh.texts}]})
        assert shown(port, certificates, "a.example") == "CN=fresh 200"
