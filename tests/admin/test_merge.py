import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.admin.merge import NoSuchPlace, merged, replaced

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=10,
)
OBJECT = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


def test_objects_merge_lists_are_replaced_and_null_deletes() -> None:
    value = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merged(value, {"a": {"c": [3], "e": {"f": None}}, "d": None}) == {"a": {"b": 1, "c": [3], "e": {}}}


@given(OBJECT, OBJECT)
def test_merging_changes_neither_argument_and_twice_is_once(value: dict[str, object], patch: dict[str, object]) -> None:
    before = copy.deepcopy((value, patch))
    once = merged(value, patch)
    assert (value, patch) == before
    assert merged(once, patch) == once


def test_a_place_is_replaced_and_made_where_it_lacks() -> None:
    value = {"upstream": {"nodes": {"a:1": 1}}}
    assert replaced(value, ["upstream", "nodes"], {"b:1": 2}) == {"upstream": {"nodes": {"b:1": 2}}}
    assert replaced(value, ["labels", "env"], "x") == value | {"labels": {"env": "x"}}
    assert replaced(value, ["upstream", "nodes"], None) == {"upstream": {}}
    assert value == {"upstream": {"nodes": {"a:1": 1}}}


def test_what_is_no_object_stands_in_the_way() -> None:
    with pytest.raises(NoSuchPlace, match="invalid sub-path: /uri/x"):
        replaced({"uri": "/"}, ["uri", "x"], 1)
