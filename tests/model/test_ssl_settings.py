import pytest

from bascule.errors.config_error import ConfigRefused
from bascule.model.config_yaml import parse_settings


def test_the_addresses() -> None:
    tls = b"{listen: [{enable_http2: true}, 444]}"
    text = b"apisix: {enable_ipv6: false, node_listen: 9080, enable_http2: false, ssl: %b}" % tls
    found = parse_settings(text, None, {}).addresses
    assert [(str(a), a.tls, a.http2) for a in found] == [
        ("http://0.0.0.0:9080", False, False),
        ("https://0.0.0.0:9443", True, True),
        ("https://0.0.0.0:444", True, False),
    ]
    assert [str(a) for a in parse_settings(b"apisix: {ssl: {enable: false}}", None, {}).addresses] == [
        "http://0.0.0.0:9080",
        "http://[::]:9080",
    ]


def test_protocols_as_words_or_as_a_list() -> None:
    for text in (b'"TLSv1.2 TLSv1.3"', b"[TLSv1.2, TLSv1.3]"):
        assert parse_settings(b"apisix: {ssl: {ssl_protocols: %b}}" % text, None, {}).apisix.ssl.ssl_protocols == (
            "TLSv1.2",
            "TLSv1.3",
        )


@pytest.mark.parametrize("section", [b"ssl_protocols: SSLv3", b"fallback_sni: '*.x'", b"ssl_protocols: []"])
def test_what_is_refused(section: bytes) -> None:
    with pytest.raises(ConfigRefused):
        parse_settings(b"apisix: {ssl: {%b}}" % section, None, {})
