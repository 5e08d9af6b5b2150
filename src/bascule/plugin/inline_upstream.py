"""The type of an attribute of a plugin's Config that holds an upstream."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import WrapValidator

from bascule.model.upstream import Upstream
from bascule.plugin.host import Host
from bascule.plugin.upstream import Place, UpstreamHandle


def _as_a_resource(value: Any, _: Any) -> Upstream:
    """Not as strict as a Config is otherwise: its types say by themselves what they take, as in a route."""
    return value if isinstance(value, Upstream) else Upstream.model_validate(value)


InlineUpstream = Annotated[Upstream, WrapValidator(_as_a_resource)]


def named_or_inline(conf: Any, at: Place, host: Host) -> UpstreamHandle | None:
    """Of a conf with the attributes `upstream_id` and `upstream`, which stands at `at` in the plugin's: the named one,
    else the inline one. None: it has neither."""
    if conf.upstream_id is not None:
        return host.upstream(conf.upstream_id, (*at, "upstream_id"))
    return None if conf.upstream is None else host.upstream(conf.upstream, (*at, "upstream"))
