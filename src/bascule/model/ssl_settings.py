"""The section `apisix.ssl` of config.yaml: TLS towards clients."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from bascule.errors.sentences import Refused
from bascule.model.admin_settings import Section
from bascule.model.engine_settings import CIPHERS
from bascule.model.listen import Listen
from bascule.model.tls_suites import check_suites

Protocol = Literal["TLSv1.1", "TLSv1.2", "TLSv1.3"]


def _words(value: Any) -> Any:
    return tuple(value.split()) if isinstance(value, str) else value


def _default_port(item: Any) -> Any:
    """An entry without a port means 9443."""
    if isinstance(item, int | str) and not isinstance(item, bool):
        return {"port": item}
    return {"port": 9443, **item} if isinstance(item, dict) else item


def _name(value: str) -> str:
    if not value or "*" in value or value != value.strip():
        raise Refused("is no server name")
    return value.lower()


class SslSection(Section):
    """`ssl_protocols`: the space-separated words of APISIX, or a list."""

    enable: bool = True
    listen: tuple[Annotated[Listen, BeforeValidator(_default_port)], ...] = (Listen(port=9443),)
    ssl_protocols: Annotated[tuple[Protocol, ...], BeforeValidator(_words), Field(min_length=1)] = (
        "TLSv1.2",
        "TLSv1.3",
    )
    ssl_ciphers: Annotated[str, Field(min_length=1)] = CIPHERS
    ssl_ciphersuites: Annotated[str, AfterValidator(check_suites)] | None = None  # our own: of TLS 1.3
    ssl_session_tickets: bool = False
    ssl_trusted_certificate: Annotated[str, Field(min_length=1)] = "system"
    fallback_sni: Annotated[str, AfterValidator(_name)] | None = None
