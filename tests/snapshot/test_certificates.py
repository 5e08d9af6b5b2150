import pytest
from cryptography.hazmat.primitives import serialization

from bascule.model.ssl import Ssl
from bascule.model.upstream import UpstreamTls
from bascule.snapshot.certificates import belong_together, check_ssl, check_tls
from bascule.snapshot.faults import Faults
from tests.snapshot.pem import make_pair

RSA_CERT, RSA_KEY = make_pair("a.com", rsa=True)
CERT, KEY = make_pair("a.com")
EXPIRED_CERT, EXPIRED_KEY = make_pair("a.com", expired=True)
NO_CERT = "failed to parse cert: PEM_read_bio_X509_AUX() failed"
NO_KEY = "failed to parse key: PEM_read_bio_PrivateKey() failed"
SEALED = "failed to decrypt previous encrypted key"
MISMATCH = "failed to parse key: the key and the cert don't belong together"
JUNK = "-----BEGIN CERTIFICATE-----\n" + "MII" * 60 + "\n-----END CERTIFICATE-----\n"


def told(**value):
    faults = Faults()
    check_ssl(Ssl.model_validate({"sni": "a.com", "cert": CERT, "key": KEY} | value), faults)
    return [(fault.path, fault.error_msg) for fault in faults.found]


def encrypted(key):
    loaded = serialization.load_pem_private_key(key.encode(), None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    ).decode()


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"cert": RSA_CERT, "key": RSA_KEY},
        {"cert": CERT + RSA_CERT},  # a chain: the first one counts
        {"cert": EXPIRED_CERT, "key": EXPIRED_KEY},
        {"certs": [RSA_CERT], "keys": [RSA_KEY]},
        {"key": "$secret://vault/1/ssl/key"},
        {"cert": "$env://CERT"},
        {"client": {"ca": CERT + EXPIRED_CERT}},
        {"client": {"ca": "$ENV://CA"}},
    ],
)
def test_good(value):
    assert told(**value) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"cert": "x" * 200}, [("$.cert", NO_CERT)]),
        ({"cert": JUNK}, [("$.cert", NO_CERT)]),
        ({"key": "x" * 200}, [("$.key", SEALED)]),
        ({"key": CERT}, [("$.key", NO_KEY)]),
        ({"key": encrypted(KEY)}, [("$.key", NO_KEY)]),
        ({"cert": "x" * 200, "key": "x" * 200}, [("$.cert", NO_CERT), ("$.key", SEALED)]),
        ({"key": RSA_KEY}, [("$.key", MISMATCH)]),
        ({"certs": [JUNK], "keys": [KEY]}, [("$.certs[0]", f"failed to handle cert-key pair[1]: {NO_CERT}")]),
        (
            {"certs": [RSA_CERT, CERT], "keys": [RSA_KEY, RSA_KEY]},
            [("$.keys[1]", f"failed to handle cert-key pair[2]: {MISMATCH}")],
        ),
        ({"client": {"ca": JUNK}}, [("$.client.ca", NO_CERT)]),
    ],
)
def test_refused(value, expected):
    assert told(**value) == expected


def test_sentences():
    faults = Faults()
    check_ssl(Ssl.model_validate({"sni": "a", "cert": "x" * 200, "key": encrypted(KEY)}), faults)
    assert [fault.sentence for fault in faults.found] == [
        "is no certificate: PEM text begins with -----BEGIN",
        "is an encrypted private key: store it without a passphrase",
    ]


def test_what_an_upstream_is_shown():
    faults = Faults()
    check_tls(None, (), faults)
    check_tls(UpstreamTls(client_cert_id="1"), (), faults)
    check_tls(UpstreamTls(client_cert=CERT, client_key=KEY), (), faults)
    assert not faults
    check_tls(UpstreamTls(client_cert=CERT, client_key=RSA_KEY), ("upstream",), faults)
    assert [(fault.path, fault.sentence) for fault in faults.found] == [
        ("$.upstream.tls.client_key", "doesn't belong to the certificate")
    ]


def test_belong_together():
    assert belong_together(CERT + RSA_CERT, KEY)
    assert not belong_together(RSA_CERT + CERT, KEY)
    assert not belong_together(CERT, "x")
    assert not belong_together("x", KEY)
