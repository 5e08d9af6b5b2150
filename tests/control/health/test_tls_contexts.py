import ssl
from typing import Any

import pytest

from bascule.control.health.tls_contexts import Pair, TlsContexts, Unusable
from bascule.snapshot.references import from_environment
from tests.control.health.asked import probe
from tests.servers.certificates import Certificates


def contexts(trusted: str = "system", pairs: dict[str, Pair] | None = None, **environ: str) -> TlsContexts:
    return TlsContexts(trusted, from_environment(environ), (pairs or {}).get)


def asked(active: dict[str, Any] | None = None, **upstream: Any) -> Any:
    return probe("a.test:443", {"type": "https", **(active or {})}, scheme="https", **upstream)


def test_the_same_for_the_same(certificates: Certificates) -> None:
    ca = certificates.ca.cert.read_text()
    made = contexts(CA=ca)
    one = made.context(asked())
    assert one.verify_mode is ssl.CERT_REQUIRED
    assert one.check_hostname
    assert made.context(asked()) is one
    blind = made.context(asked({"https_verify_certificate": False}))
    assert (blind.verify_mode, blind.check_hostname) == (ssl.CERT_NONE, False)
    # A reference stands for its text.
    assert made.context(asked(tls={"ca_certs": ca})) is made.context(asked(tls={"ca_certs": "$env://CA"}))
    assert repr(made) == "<TLS contexts 3>"
    [trusted] = contexts(str(certificates.ca.cert)).context(asked()).get_ca_certs()
    assert trusted["subject"] == ((("commonName", "tests' authority"),),)


def test_versions() -> None:
    context = contexts().context(asked(tls={"ssl_protocols": ["TLSv1.2"]}))
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    assert contexts().context(asked()).minimum_version is ssl.TLSVersion.TLSv1_2


def test_client_certificates(certificates: Certificates) -> None:
    pair = certificates.client.texts
    made = contexts(pairs={"c": (pair["cert"], pair["key"])}, KEY=pair["key"])
    inline = made.context(asked(tls={"client_cert": pair["cert"], "client_key": "$env://KEY"}))
    assert made.context(asked(tls={"client_cert_id": "c"})) is inline


@pytest.mark.parametrize(
    ("tls", "says"),
    [
        ({"client_cert_id": "none"}, 'tls.client_cert_id: there is no client certificate "none" in ssls'),
        ({"client_cert": "x" * 128, "client_key": "y" * 128}, "the client certificate can't be used"),
        ({"client_cert": "$env://A", "client_key": "$env://B"}, "tls.client_cert: $env://A can't be resolved"),
        ({"ca_certs": "z" * 128}, "tls.ca_certs can't be used"),
    ],
)
def test_what_cannot_be_used_is_named(tls: dict[str, str], says: str) -> None:
    with pytest.raises(Unusable) as refused:
        contexts().context(asked(tls=tls))
    assert says in str(refused.value)


def test_a_file_of_authorities_that_is_not_there() -> None:
    with pytest.raises(Unusable, match="/none can't be used"):
        contexts("/none").context(asked())
