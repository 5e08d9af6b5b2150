"""A consumer: who calls. Its auth plugins hold the keys by which it is found."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

from bascule.model.attributes import Desc, Id, Labels, Model, Plugins, Time


class Consumer(Model):
    username: Annotated[str, Strict(), Field(min_length=1, max_length=256, pattern=r"^[a-zA-Z0-9_\-]+$")]
    id: str | None = None
    group_id: Id | None = None
    plugins: Plugins | None = None
    desc: Desc | None = None
    labels: Labels | None = None
    create_time: Time | None = None
    update_time: Time | None = None
