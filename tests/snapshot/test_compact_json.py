import datetime

import pytest

from bascule.snapshot.compact_json import NotJson, pack, unpack


def test_equal_values_give_equal_bytes():
    assert (
        pack({"b": 1, "a": [1.5, None, True]})
        == pack({"a": [1.5, None, True], "b": 1})
        == b'{"a":[1.5,null,true],"b":1}'
    )


def test_there_and_back():
    value = {"a": {"b": ["c", 1, 2.5, None, False]}, "\u00e9": "\u00e9"}
    assert unpack(pack(value)) == value


def test_no_slack_is_kept():
    import sys

    assert sys.getsizeof(pack({"a": 1})) < 60


@pytest.mark.parametrize(
    ("value", "parts", "sentence"),
    [
        ({"a": [{1: 2}]}, ("a", 0), "the key 1 must be a string (put it in quotes)"),
        ({"a": datetime.date(2026, 1, 1)}, ("a",), "datetime.date(2026, 1, 1) is no JSON value (put it in quotes)"),
        ({"a": 2**70}, ("a",), "is too large a number"),
        ({"a": {1, 2}}, ("a",), "{1, 2} is no JSON value (put it in quotes)"),
    ],
)
def test_what_yaml_can_say_and_json_can_not(value, parts, sentence):
    with pytest.raises(NotJson) as caught:
        pack(value)
    assert (caught.value.parts, caught.value.sentence) == (parts, sentence)


def test_endless_nesting():
    value: dict = {}
    inner = value
    for _ in range(300):
        inner["a"] = inner = {}
    with pytest.raises(NotJson) as caught:
        pack(value)
    assert caught.value.sentence == "is nested too deeply"
