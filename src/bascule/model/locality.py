"""Nodes of the gateway's own zone first: an upstream's `locality`. Our own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

from bascule.model.attributes import Bool, Model


class Locality(Model):
    """`threshold`: percent of the own zone's weight that must be usable for the requests to stay in it."""

    disable: Bool = False
    threshold: Annotated[int, Strict(), Field(ge=0, le=100)] = 70
