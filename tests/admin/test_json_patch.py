import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.admin.json_patch import MAX_OPERATIONS, PatchRefused, apply_json_patch, apply_merge_patch

VALUE: dict[str, Any] = {"uri": "/a", "methods": ["GET"], "upstream": {"nodes": {"127.0.0.1:80": 1}}}


def refused(*operations: Any) -> str:
    with pytest.raises(PatchRefused) as caught:
        apply_json_patch(VALUE, list(operations))
    return str(caught.value)


def test_every_operation() -> None:
    patched = apply_json_patch(
        VALUE,
        [
            {"op": "test", "path": "/uri", "value": "/a"},
            {"op": "replace", "path": "/uri", "value": "/b"},
            {"op": "add", "path": "/methods/-", "value": "PUT"},
            {"op": "add", "path": "/methods/0", "value": "HEAD"},
            {"op": "copy", "from": "/uri", "path": "/desc"},
            {"op": "move", "from": "/desc", "path": "/name"},
            {"op": "remove", "path": "/upstream/nodes/127.0.0.1:80"},
            {"op": "add", "path": "/upstream/nodes/a~1b~0c", "value": 1},
        ],
    )
    assert patched == {
        "uri": "/b",
        "methods": ["HEAD", "GET", "PUT"],
        "name": "/b",
        "upstream": {"nodes": {"a/b~c": 1}},
    }
    assert VALUE["methods"] == ["GET"]


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        ({"op": "test", "path": "/uri", "value": "/x"}, "operation 0 (test /uri): the value there is another"),
        ({"op": "remove", "path": "/nothing"}, "operation 0 (remove /nothing): "),
        ({"op": "replace", "path": "/methods/7", "value": 1}, "operation 0 (replace /methods/7): "),
        ({"op": "add", "path": "/uri/deep", "value": 1}, "operation 0 (add /uri/deep): "),
        ({"op": "add", "path": "no-slash", "value": 1}, "operation 0 (add no-slash): "),
        ({"op": "add", "path": "/x"}, 'operation 0: "add" needs "value"'),
        ({"op": "move", "path": "/x"}, 'operation 0: "move" needs "from"'),
        ({"op": "add", "path": 1, "value": 1}, 'operation 0: "path" must be a string'),
        ({"op": "drop", "path": "/x"}, 'operation 0: "op" must be one of add, replace, test, remove, move, copy'),
        ({"op": ["add"], "path": "/x"}, 'operation 0: "op" must be one of'),
        ("add", "operation 0: must be an object"),
        ({"op": "replace", "path": "", "value": 3}, "what the patch leaves is no object"),
    ],
)
def test_refusals_name_the_operation(operation: Any, sentence: str) -> None:
    assert refused(operation).startswith(sentence)


def test_a_patch_that_fails_half_way_leaves_nothing() -> None:
    refused({"op": "replace", "path": "/uri", "value": "/b"}, {"op": "remove", "path": "/nothing"})
    assert VALUE["uri"] == "/a"


def test_a_copy_bomb_is_refused_in_time() -> None:
    bomb = [{"op": "copy", "from": "", "path": f"/x{number}"} for number in range(60)]
    assert refused(*bomb).endswith("copies too much")


def test_no_list_and_too_long_a_list() -> None:
    with pytest.raises(PatchRefused, match="is a list"):
        apply_json_patch(VALUE, {"op": "add"})
    assert "at most" in refused(*[{"op": "test", "path": "", "value": VALUE}] * (MAX_OPERATIONS + 1))


@pytest.mark.parametrize(
    ("value", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_as_in_the_rfc(value: Any, patch: Any, expected: Any) -> None:
    assert apply_merge_patch(value, patch) == expected


POINTERS = st.sampled_from(
    ["", "/", "/uri", "/methods", "/methods/0", "/methods/-", "/methods/x", "/upstream/nodes", "~"]
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": POINTERS},
    optional={"from": POINTERS, "value": st.none() | st.integers() | st.just({"a": []})},
)


@given(st.lists(OPERATIONS, max_size=6))
def test_any_patch_is_applied_or_refused(patch: list[Any]) -> None:
    with contextlib.suppress(PatchRefused):
        assert isinstance(apply_json_patch(VALUE, patch), dict)
