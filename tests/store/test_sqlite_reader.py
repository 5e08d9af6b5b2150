from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.store.sqlite_reader import behind

TEXTS = st.text(max_size=4) | st.text(st.sampled_from("a\0\ud7ff\ue000\U0010ffff"), max_size=4)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("routes/", "routes0"),
        ("a\ud7ff", "a\ue000"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff\U0010ffff", None),
    ],
)
def test_the_end_of_a_range(prefix: str, end: str | None) -> None:
    assert behind(prefix) == end


@given(TEXTS, TEXTS, TEXTS)
def test_a_range_holds_exactly_what_begins_with_the_prefix(prefix: str, rest: str, other: str) -> None:
    end = behind(prefix)
    for key in (prefix, prefix + rest, other):
        packed = key.encode()  # as SQLite compares
        within = prefix.encode() <= packed and (end is None or packed < end.encode())
        assert within == key.startswith(prefix)
