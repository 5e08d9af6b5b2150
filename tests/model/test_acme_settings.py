import pytest

from bascule.errors.config_error import ConfigRefused
from bascule.model.acme_settings import LETS_ENCRYPT
from bascule.model.config_yaml import parse_settings


def test_a_section() -> None:
    text = b"bascule: {acme: {agree_to_terms: true, names: [A.example., [b.example, w.b.example]], renew_before: 10d}}"
    acme = parse_settings(text, None, {}).bascule.acme
    assert acme.names == (("a.example",), ("b.example", "w.b.example"))
    assert (acme.directory, acme.challenge, acme.key) == (LETS_ENCRYPT, "http-01", "ecdsa")
    assert acme.renew_before == 864000


def test_nothing_is_obtained_without_names() -> None:
    assert parse_settings(b"", None, {}).bascule.acme.names == ()


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (
            "agree_to_terms: true, names: ['*.a.example']",
            "$.bascule.acme.names[0]: a wildcard needs a",
        ),
        ("agree_to_terms: true, names: [127.0.0.1]", "is an address, not a name"),
        ("agree_to_terms: true, names: [localhost]", "is no full host name"),
        ("agree_to_terms: true, names: [../../etc.passwd]", "is no full host name"),
        ("agree_to_terms: true, names: [[]]", "$.bascule.acme.names[0]"),
        ("agree_to_terms: true, names: [a.example, [A.example, b.example]]", 'two certificates begin with "a.example"'),
        ("names: [a.example]", "agree_to_terms: true is needed"),
        ("directory: 'http://a.example/'", "$.bascule.acme.directory"),
        ("challenge: dns-01", "$.bascule.acme.challenge"),
        ("email: nobody", "$.bascule.acme.email"),
        ("eab: {kid: a, hmac_key: '??'}", "must be base64url text"),
        ("renew_before: 0", "$.bascule.acme.renew_before"),
        ("wildcards: true", "$.bascule.acme.wildcards"),
    ],
)
def test_what_is_refused(section: str, told: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        parse_settings(f"bascule: {{acme: {{{section}}}}}".encode(), None, {})
    assert told in str(refused.value)


def test_certificates_that_nothing_would_serve() -> None:
    text = b"{apisix: {ssl: {enable: false}}, bascule: {acme: {agree_to_terms: true, names: [a.example]}}}"
    with pytest.raises(ConfigRefused, match=r"apisix\.ssl\.enable is false"):
        parse_settings(text, None, {})
