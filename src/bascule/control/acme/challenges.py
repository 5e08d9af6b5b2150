"""What certificate authorities look for at the gateway while they check who has a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

HTTP_PATH = b"/.well-known/acme-challenge/"


@dataclass(frozen=True, slots=True)
class Challenge:
    """`authorization`: the token with the account's thumbprint, RFC 8555 8.1."""

    name: str
    token: str
    authorization: str


@dataclass(frozen=True, slots=True)
class Challenges:
    """As workers answer them: path -> body (http-01), server name -> (certificate, key) as PEM text (tls-alpn-01)."""

    answers: dict[bytes, bytes] = field(default_factory=dict)
    certificates: dict[str, tuple[str, str]] = field(default_factory=dict)


def answered(pending: Iterable[Challenge], kind: str) -> Challenges:
    """`kind`: "http-01" or "tls-alpn-01"."""
    if kind == "http-01":
        return Challenges({HTTP_PATH + one.token.encode(): one.authorization.encode() for one in pending})
    # Imported here: workers, which only answer, need no cryptography, and it would be a tenth of their start.
    from bascule.control.acme.challenge_certificate import challenge_certificate

    return Challenges(certificates={one.name: challenge_certificate(one.name, one.authorization) for one in pending})
