import pytest

from bascule.model.ssl import Ssl

PAIR = {"cert": "c" * 128, "key": "k" * 64}


@pytest.mark.parametrize(
    "value",
    [
        PAIR | {"sni": "a.com"},
        PAIR | {"snis": ["*.a.com"], "certs": ["c" * 128], "keys": ["$secret://vault/1/key"]},
        PAIR | {"type": "client"},
        PAIR | {"sni": "a", "ocsp_stapling": {"enabled": True, "skip_verify": False, "cache_ttl": 60}},
        PAIR | {"sni": "a", "cert": "$file:///a.crt", "key": "$file:///a.key"},
        PAIR | {"sni": "a", "client": {"ca": "c" * 128, "depth": 0, "skip_mtls_uri_regex": ["/a.*"]}},
        PAIR | {"sni": "a", "ssl_protocols": ["TLSv1.2", "TLSv1.3"], "status": 0},
    ],
)
def test_accepted(told, value):
    assert told(Ssl, value) == []


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        ({"sni": "a"}, ["$.cert: is required", "$.key: is required"]),
        (PAIR, ['$: a server certificate needs exactly one of "sni" and "snis"']),
        (PAIR | {"sni": "a", "certs": ["c" * 128]}, ['$: mismatched number of "certs" and "keys"']),
        (PAIR | {"sni": "a", "ocsp_stapling": {"cache_ttl": 59}}, ["$.ocsp_stapling.cache_ttl: must be at least 60"]),
        (PAIR | {"sni": "a", "client": {}}, ["$.client.ca: is required"]),
        (
            PAIR | {"sni": "a", "ssl_protocols": ["SSLv3"]},
            ["$.ssl_protocols[0]: must be one of 'TLSv1.1', 'TLSv1.2' or 'TLSv1.3'"],
        ),
    ],
)
def test_refused(told, value, errors):
    assert told(Ssl, value) == errors
