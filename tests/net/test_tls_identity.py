import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from bascule.net.tls_identity import TlsIdentity
from tests.servers.certificates import Certificates


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certs"))


def texts(authority: Certificates) -> tuple[str, str]:
    return authority.server.cert.read_text(), authority.server.key.read_text()


def test_pairs_are_read_once_and_checked(authority: Certificates) -> None:
    identity = TlsIdentity([texts(authority)], client_ca=authority.ca.cert.read_text())
    identity.check()
    assert identity.asks_client
    assert not TlsIdentity([texts(authority)]).asks_client


def test_what_cannot_be_read_is_told(authority: Certificates) -> None:
    cert, key = texts(authority)
    with pytest.raises(ValueError, match="the certificate can't be read: no start line"):
        TlsIdentity([("junk", key)])
    with pytest.raises(ValueError, match="the key can't be read"):
        TlsIdentity([(cert, "junk")])
    with pytest.raises(ValueError, match="no certificate can be read"):
        TlsIdentity([(cert, key)], client_ca="junk")
    with pytest.raises(ValueError, match="more than 8 certificates"):
        TlsIdentity([(cert, key)] * 9)


def test_what_openssl_would_not_use_is_told(authority: Certificates) -> None:
    cert, _ = texts(authority)
    _, other = authority.client.cert.read_text(), authority.client.key.read_text()
    with pytest.raises(ValueError, match="certificate 1 can't be used"):
        TlsIdentity([(cert, other)]).check()
    weak = authority.issue("weak", ("a.test",), key=rsa.generate_private_key(65537, 1024)).texts
    with pytest.raises(ValueError, match="ee key too small"):
        TlsIdentity([(weak["cert"], weak["key"])]).check()
