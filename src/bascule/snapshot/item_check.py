"""Checks that every kind of item goes through."""

from __future__ import annotations

from sys import intern
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from bascule.model.change import Change
from bascule.model.consumer import Consumer
from bascule.model.upstream import Upstream
from bascule.snapshot.certificates import check_tls
from bascule.snapshot.compiled_upstream import CompiledUpstream
from bascule.snapshot.faults import Faults
from bascule.snapshot.upstream_compiler import Served, compile_upstream, not_served

M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], change: Change, faults: Faults) -> M | None:
    """The model of a change's value; also compares the id inside with the key."""
    try:
        conf = model.model_validate(change.value)
    except ValidationError as error:
        faults.add_invalid(error, change.value, model, ())
        return None
    attribute = "username" if model is Consumer else "id"
    inside = getattr(conf, attribute, None)
    if inside is not None and str(inside) != change.id and not change.id.endswith(f"/{inside}"):
        faults.add((attribute,), f'says "{inside}", but the item is stored as "{change.id}"')
        return None
    return conf


def checked_upstream(
    conf: Upstream | None,
    key: str,
    id: str | None,
    previous: CompiledUpstream | None,
    parts: tuple[str | int, ...],
    served: Served,
    faults: Faults,
) -> CompiledUpstream | None:
    """`parts`: where the upstream stands in its item."""
    if conf is None:
        return None
    check_tls(conf.tls, parts, faults)
    for attribute, sentence in not_served(conf, served):
        faults.add((*parts, attribute), sentence)
    return compile_upstream(conf, key, id, previous, served.pool, served.discovered)


def interned(value: str | None) -> str | None:
    return None if value is None else intern(value)


def shared(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(intern, values)) if values else ()
