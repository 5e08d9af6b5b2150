"""`_meta`: what every plugin conf may hold beside the plugin's own attributes."""

from __future__ import annotations

from typing import Annotated, Any

from bascule.errors.apisix_text import MatchesOne
from bascule.model.attributes import Bool, Int, Json, Model, Str, lua


class PluginMeta(Model):
    disable: Bool = False
    priority: Int | None = None
    filter: list[Any] | None = None
    error_response: Annotated[Str | Json, MatchesOne] | None = None
    pre_function: Annotated[Any, lua("pre_function", "write it as a Python plugin")] = None


NO_META = PluginMeta()
