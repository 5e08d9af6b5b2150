"""The section `bascule.acme` of config.yaml: certificates that the gateway obtains by itself."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bascule.errors.sentences import Refused
from bascule.model.admin_settings import Duration, Section

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})+")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
MOST_NAMES = 100  # that authorities put into one certificate


def _name(value: str) -> str:
    name = value.lower().rstrip(".")
    if name.startswith("*."):
        raise Refused("a wildcard needs a challenge by DNS, which isn't served: name each host, or give an ssls item")
    if re.fullmatch(r"[\d.]+|.*:.*", name):
        raise Refused("is an address, not a name")
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise Refused("is no full host name; an internationalised one is written as xn--…")
    return name


def _together(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _hmac_key(value: str) -> str:
    if not _BASE64URL.fullmatch(value):
        raise Refused("must be base64url text, as the authority gave it")
    return value


# The names of one certificate; a single one may stand without a list.
Names = Annotated[
    tuple[Annotated[str, AfterValidator(_name)], ...],
    Field(min_length=1, max_length=MOST_NAMES),
    BeforeValidator(_together),
]


class ExternalAccount(Section):
    """What ties the account to one that the authority knows already (RFC 8555 7.3.4)."""

    kid: Annotated[str, Field(min_length=1)]
    hmac_key: Annotated[str, AfterValidator(_hmac_key)]


class AcmeSection(Section):
    """`names`: a certificate for each entry; none: nothing is obtained. `renew_before` None: a third of its life."""

    directory: Annotated[str, Field(pattern=r"^https://[^/\s]+(/\S*)?$")] = LETS_ENCRYPT
    email: Annotated[str, Field(pattern=r"^[^\s@,]+@[^\s@,]+$")] | None = None
    agree_to_terms: bool = False
    names: tuple[Names, ...] = ()
    challenge: Literal["http-01", "tls-alpn-01"] = "http-01"
    key: Literal["ecdsa", "rsa"] = "ecdsa"
    renew_before: Annotated[Duration, Field(gt=0)] | None = None
    # The pause after a failure; it doubles with each one, up to six hours.
    retry: Annotated[Duration, Field(gt=0)] = 60.0
    eab: ExternalAccount | None = None
    ca_file: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.names and not self.agree_to_terms:
            raise Refused("agree_to_terms: true is needed: the authority issues nothing without it")
        firsts = [names[0] for names in self.names]
        for name in firsts:
            if firsts.count(name) > 1:
                raise Refused(f'names: two certificates begin with "{name}"')
        return self
