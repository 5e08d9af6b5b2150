"""Sticky sessions: an upstream's `sticky`. Our own."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from bascule.errors.sentences import Refused
from bascule.model.attributes import Bool, Model

_TOKEN = r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$"
_PATH = r"^/[!-:<-~]*$"


class Sticky(Model):
    """The cookie that keeps a client at its node. `ttl` in seconds; None: as long as the browser runs."""

    name: Annotated[str, Strict(), Field(min_length=1, max_length=128, pattern=_TOKEN)] = "bascule_node"
    ttl: Annotated[int, Strict(), Field(ge=1, le=315360000)] | None = None
    path: Annotated[str, Strict(), Field(max_length=1024, pattern=_PATH)] = "/"
    secure: Bool | None = None  # None: when the request came by TLS
    http_only: Bool = True
    same_site: Literal["strict", "lax", "none"] | None = "lax"

    @model_validator(mode="after")
    def _cross_site(self) -> Self:
        if self.same_site == "none" and self.secure is not True:
            raise Refused('"same_site": "none" needs "secure": true, or browsers drop the cookie')
        return self
