from hypothesis import given
from hypothesis import strategies as st

from bascule.errors.sentences import json_path
from bascule.model.json_path import parts


def test_parts() -> None:
    assert parts('$.plugins.limit-count.rules[3]["a.b"]') == ["plugins", "limit-count", "rules", 3, "a.b"]


@given(st.lists(st.one_of(st.integers(0, 99), st.text(st.characters(exclude_characters="\\\\"), min_size=1))))
def test_the_inverse_of_json_path(path: list[str | int]) -> None:
    assert parts(json_path(path)) == path
