"""Names of TLS 1.3's cipher suites."""

from __future__ import annotations

from bascule.errors.sentences import Refused

SUITES = frozenset(
    (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_CCM_SHA256",
        "TLS_AES_128_CCM_8_SHA256",
    )
)


def check_suites(value: str) -> str:
    """For a validator: names with colons between, as OpenSSL takes them. Raises Refused."""
    for name in value.split(":"):
        if name not in SUITES:
            raise Refused(f'"{name}" is no cipher suite of TLS 1.3: {", ".join(sorted(SUITES))}')
    return value
