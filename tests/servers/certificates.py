"""Certificates for tests: an authority of their own, a server's for 127.0.0.1 and localhost, a client's."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Extension = x509.ExtensionType
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class Pair(NamedTuple):
    """Files, PEM."""

    cert: Path
    key: Path

    @property
    def texts(self) -> dict[str, str]:
        """As in an `ssls` item."""
        return {"cert": self.cert.read_text(), "key": self.key.read_text()}


class Certificates:
    """`ca`, `server`, `client`: valid for a day; made in `directory`. `names`: of the server."""

    def __init__(self, directory: Path, names: tuple[str, ...] = ("localhost",)) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca_name = _name("tests' authority")
        self.ca = self._write("ca", self._ca_key, self._sign(self._ca_name, self._ca_key, ca=True))
        addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        self.server = self._pair("server", [*map(x509.DNSName, names), *addresses])
        self.client = self._pair("client", [])

    @property
    def ca_key(self) -> ec.EllipticCurvePrivateKey:
        return self._ca_key

    @property
    def ca_certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.ca.cert.read_bytes())

    def issue(
        self, name: str, names: tuple[str, ...] = (), *, key: Key | None = None, more: Sequence[Extension] = ()
    ) -> Pair:
        """One more, in files of this name, for these DNS names. `more`: extensions."""
        return self._pair(name, [x509.DNSName(one) for one in names], key, more)

    def certify(self, key: PublicKey, names: tuple[str, ...], since: datetime, until: datetime) -> str:
        """Somebody's key for these DNS names; PEM text with the authority's own certificate behind."""
        builder = x509.CertificateBuilder().subject_name(_name(names[0])).issuer_name(self._ca_name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(until)
        alternatives = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
        leaf = builder.add_extension(alternatives, critical=False).sign(self._ca_key, hashes.SHA256())
        return leaf.public_bytes(serialization.Encoding.PEM).decode() + self.ca.cert.read_text()

    def _pair(
        self,
        name: str,
        alternatives: list[x509.GeneralName],
        key: Key | None = None,
        more: Sequence[Extension] = (),
    ) -> Pair:
        key = key or ec.generate_private_key(ec.SECP256R1())
        return self._write(name, key, self._sign(_name(name), key, alternatives=alternatives, more=more))

    def _sign(
        self,
        subject: x509.Name,
        key: Key,
        *,
        ca: bool = False,
        alternatives: list[x509.GeneralName] | None = None,
        more: Sequence[Extension] = (),
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key()), critical=False
            )
        )
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        if not ca and not any(isinstance(one, x509.ExtendedKeyUsage) for one in more):
            # etcd's gateway is a client of etcd, with the server's certificate.
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self._ca_key, hashes.SHA256())

    def _write(self, name: str, key: Key, certificate: x509.Certificate) -> Pair:
        pair = Pair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        pair.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
