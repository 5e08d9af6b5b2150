from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.admin.diff import ABSENT, HIDDEN, Difference, at, differences, hide, replaced

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=10,
)


def told(before: Any, after: Any, secret: Any = ()) -> list[tuple[Any, ...]]:
    return [tuple(difference) for difference in differences(before, after, secret)]


def test_places_are_told_as_deep_as_they_are() -> None:
    before = {"uri": "/a", "plugins": {"limit-count": {"count": 1, "key": "x"}}, "desc": "old"}
    after = {"uri": "/a", "plugins": {"limit-count": {"count": 2, "key": "x"}, "cors": {}}, "labels": {"a.b": "c"}}
    assert told(before, after) == [
        ("$.desc", "old", ABSENT),
        ("$.labels", ABSENT, {"a.b": "c"}),
        ("$.plugins.cors", ABSENT, {}),
        ("$.plugins.limit-count.count", 1, 2),
    ]
    assert told({"labels": {"a.b": "1"}}, {"labels": {"a.b": "2"}}) == [('$.labels["a.b"]', "1", "2")]


def test_lists_of_objects_item_by_item_all_others_whole() -> None:
    assert told({"nodes": [{"weight": 1}, {"weight": 2}]}, {"nodes": [{"weight": 1}, {"weight": 3}]}) == [
        ("$.nodes[1].weight", 2, 3)
    ]
    assert told({"methods": ["GET"]}, {"methods": ["GET", "PUT"]}) == [("$.methods", ["GET"], ["GET", "PUT"])]


def test_a_whole_resource_comes_or_goes() -> None:
    assert told(ABSENT, {"uri": "/"}) == [("$", ABSENT, {"uri": "/"})]
    assert told({"uri": "/"}, ABSENT) == [("$", {"uri": "/"}, ABSENT)]


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1, "1"), (None, False), ([1], [True])])
def test_what_only_python_takes_for_equal(before: Any, after: Any) -> None:
    assert told({"x": before}, {"x": after}) == [("$.x", before, after)]


def test_numbers_are_compared_as_json_does() -> None:
    assert told({"x": [1, {"y": 2}]}, {"x": [1.0, {"y": 2.0}]}) == []


def test_secrets_are_hidden_wherever_they_show() -> None:
    secret = [("plugins", "key-auth", "key")]
    old, new = {"plugins": {"key-auth": {"key": "one"}}}, {"plugins": {"key-auth": {"key": "two"}}}
    assert told(old, new, secret) == [("$.plugins.key-auth.key", HIDDEN, HIDDEN)]
    assert told({"plugins": {}}, new, secret) == [("$.plugins.key-auth", ABSENT, {"key": HIDDEN})]
    assert told(ABSENT, new, secret) == [("$", ABSENT, {"plugins": {"key-auth": {"key": HIDDEN}}})]
    assert told(old, old, secret) == []
    inside = [("auth",)]
    assert told({"auth": {"key": 1}}, {"auth": {"key": 2}}, inside) == [("$.auth.key", HIDDEN, HIDDEN)]


def test_hiding_leaves_the_value_itself_alone() -> None:
    value = {"keys": ["a", "b"], "other": 1}
    assert hide(value, [("keys", 1), ("absent", "x")]) == {"keys": ["a", HIDDEN], "other": 1}
    assert value == {"keys": ["a", "b"], "other": 1}
    assert hide(value, []) is value


def test_places() -> None:
    value = {"a": [{"b": 1}]}
    assert at(value, ("a", 0, "b")) == 1
    assert at(value, ("a", 1)) is at(value, ("a", "b")) is at(value, ("a", 0, "b", "c")) is ABSENT
    assert replaced(value, ("a", 0, "b"), 2) == {"a": [{"b": 2}]}
    assert replaced(value, (), 2) == 2
    assert value == {"a": [{"b": 1}]}


def test_told_as_json() -> None:
    assert Difference("$.a", ABSENT, None).told() == {"path": "$.a", "after": None}
    assert repr(ABSENT) == "absent"


@given(JSON, JSON)
def test_any_two_values(before: Any, after: Any) -> None:
    assert differences(before, before) == []
    assert (differences(before, after) == []) == (differences(after, before) == [])
