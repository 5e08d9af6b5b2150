"""Whatever an item holds, a step neither raises nor forgets: the item is in use, or an error names it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.model.change import Change
from bascule.model.kinds import KINDS
from tests.snapshot.bench import Bench

NAMES = sorted({name for model in KINDS.values() for name in model.model_fields} | {"limit", "key-auth", "_meta"})
SCALARS: list[Any] = [None, True, 0, 1, -1, 1.5, 2**70, "", "a", "/a", "*", "a:80", "[::1]:1", "$env://KEY"]
ODD: list[Any] = [b"bytes", {1, 2}, object, {1: 2}, float("nan")]

values = st.recursive(
    st.sampled_from([*SCALARS, *ODD]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*KINDS, "nonsense"]),
            st.sampled_from(["1", "limit", "joe", "joe/credentials/1", "vault/1", ""]),
            st.none() | st.dictionaries(st.sampled_from(NAMES), values, max_size=8),
        ),
        max_size=5,
    )
)
def test_total(items: list[tuple[str, str, Any]]) -> None:
    bench = Bench()
    for kind, id, value in items:
        applied = bench.tables.apply([Change(kind, id, value)])
        told = [error for error in applied.errors if (error.kind, error.id) == (kind, id)]
        assert value is None or told or bench.tables.get(kind, id) is not None
        assert all(error.message and "pydantic" not in error.message for error in applied.errors)
        assert bench.tables.counts[kind] <= 5 if kind in KINDS else not value or told
    route = bench.route("/a", "a")
    if route is not None:
        bench.tables.chain(route)
    bench.tables.refresh()
    bench.apply(*(Change(kind, id, None) for kind, id, _ in items))
    assert bench.refused() == []
    assert not any(bench.tables.counts.values())
    assert len(bench.tables.router) == 0
