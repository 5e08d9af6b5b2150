"""The type of an attribute of a plugin's Config that holds an upstream."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import WrapValidator

from bascule.model.upstream import Upstream


def _as_a_resource(value: Any, _: Any) -> Upstream:
    """Not as strict as a Config is otherwise: its types say by themselves what they take, as in a route."""
    return value if isinstance(value, Upstream) else Upstream.model_validate(value)


InlineUpstream = Annotated[Upstream, WrapValidator(_as_a_resource)]
