"""Limits of WebSockets, our own: an attribute of routes and services."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

from bascule.model.attributes import Model

Duration = Annotated[float, Strict(), Field(gt=0, le=31_536_000, allow_inf_nan=False)]


class WebsocketConf(Model):
    """Seconds, each absent for none. `idle_timeout`: how long nothing may come from either side (absent: the upstream's
    read timeout). `max_lifetime`: after which it ends, whatever goes on. `ping_interval`: a side that was silent for so
    long gets a ping."""

    idle_timeout: Duration | None = None
    max_lifetime: Duration | None = None
    ping_interval: Duration | None = None
