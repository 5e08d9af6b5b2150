"""bascule.load_shedding of config.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bascule.model.admin_settings import Duration, Section


class LoadShedding(Section):
    enabled: bool = False
    max_lag: Annotated[Duration, Field(ge=0.005, le=10)] = 0.05
    retry_after: Annotated[Duration, Field(ge=1, le=3600)] = 1.0
