"""A credential: one more key of a consumer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bascule.model.attributes import Desc, Labels, Model, Name, Plugins, Time


class Credential(Model):
    """`id` may be the short one or, as in a standalone file, "user/credentials/id"."""

    id: str | int | None = None
    name: Name | None = None
    plugins: Annotated[Plugins, Field(max_length=1)] | None = None
    desc: Desc | None = None
    labels: Labels | None = None
    create_time: Time | None = None
    update_time: Time | None = None
