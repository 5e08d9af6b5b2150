"""A certificate: a server's, chosen by SNI, or a client's towards upstreams."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, Strict, model_validator

from bascule.errors.apisix_text import ONE, ONE_OF_BOTH
from bascule.errors.sentences import Refused
from bascule.model.attributes import (
    Bool,
    Cert,
    Desc,
    Host,
    Id,
    Json,
    Key,
    Labels,
    Model,
    Regex,
    Status,
    Time,
    Unique,
    one_of,
)
from bascule.model.tls_suites import check_suites

# Begins the id of an item that stands for a certificate which the gateway obtained itself: no written item has a colon.
OBTAINED = "acme:"


class SslClient(Model):
    """How clients must show a certificate (mTLS)."""

    ca: Cert
    depth: Annotated[int, Strict(), Field(ge=0)] = 1
    skip_mtls_uri_regex: Annotated[tuple[Regex, ...], Field(min_length=1), Unique] | None = None


class OcspStapling(Model):
    """`skip_verify`: a response is shown without being checked. `cache_ttl`: seconds after which to ask again."""

    enabled: Bool = False
    skip_verify: Bool = False
    cache_ttl: Annotated[int, Strict(), Field(ge=60)] = 3600


class Ssl(Model):
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"type": {"const": "client"}}, "required": ["type"]},
            "else": one_of("sni", "snis"),
        }
    )

    id: Id | None = None
    type: Literal["server", "client"] = "server"
    cert: Cert
    key: Key
    certs: tuple[Cert, ...] | None = None
    keys: tuple[Key, ...] | None = None
    sni: Host | None = None
    snis: Annotated[tuple[Host, ...], Field(min_length=1), Unique] | None = None
    client: SslClient | None = None
    ssl_protocols: (
        Annotated[tuple[Literal["TLSv1.1", "TLSv1.2", "TLSv1.3"], ...], Field(max_length=3), Unique] | None
    ) = None
    ssl_ciphers: Annotated[str, Strict(), Field(min_length=1)] | None = None  # our own: instead of apisix.ssl's
    ssl_ciphersuites: Annotated[str, Strict(), AfterValidator(check_suites)] | None = None  # our own: of TLS 1.3
    status: Status = 1
    gm: Json | None = None  # of plugin gm
    ocsp_stapling: OcspStapling | None = None
    desc: Desc | None = None
    labels: Labels | None = None
    create_time: Time | None = None
    update_time: Time | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if len(self.certs or ()) != len(self.keys or ()):
            raise Refused('mismatched number of "certs" and "keys"', "mismatched number of certs and keys", True)
        if self.type == "server" and (self.sni is None) == (self.snis is None):
            text = ONE if self.sni is None else ONE_OF_BOTH
            raise Refused('a server certificate needs exactly one of "sni" and "snis"', text)
        return self
