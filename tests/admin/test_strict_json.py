import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.admin.strict_json import MAX_DEPTH, BadJson, read_json


@given(st.recursive(st.none() | st.booleans() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_what_json_writes_is_read(value: object) -> None:
    assert read_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=40))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadJson):
        assert read_json(data) == json.loads(data.strip() or b"null", strict=False)


def test_raw_newlines_in_strings_are_read_and_nothing_else_that_json_forbids() -> None:
    assert read_json(b'{"a": "x\ny"}') == {"a": "x\ny"}
    assert read_json(b"  ") is None
    for data in (b"{'a': 1}", b"[NaN]", b"[1,]", b'{"a": "x\n"', b'"\xff"', b"[-Infinity]"):
        with pytest.raises(BadJson):
            read_json(data)


def test_depth_is_bounded_and_brackets_in_strings_don_t_count() -> None:
    assert read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(BadJson, match="deep"):
        read_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    text = json.dumps(['[{"' * MAX_DEPTH + "\\"])
    assert read_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize("number", ["9" * 5000, str(1 << 64), str(-(1 << 63) - 1), "1e999", "-1e999"])
def test_numbers_that_nothing_holds_are_refused(number: str) -> None:
    with pytest.raises(BadJson, match="out of range"):
        read_json(b'{"n": ' + number.encode() + b"}")


def test_numbers_at_the_bounds_are_read() -> None:
    bounds = [(1 << 64) - 1, -(1 << 63), 1.7976931348623157e308]
    assert read_json(json.dumps(bounds).encode()) == bounds


def test_of_a_key_that_stands_twice_the_last_one_counts() -> None:
    assert read_json(b'[{"a": 1, "b": 2, "a": 3}]') == [{"a": 3, "b": 2}]


def test_what_is_no_text_is_refused() -> None:
    for data in (b'["\\ud800"]', b'{"\\udfff": 1}', b'[{"a": ["x\\ud800y"]}]'):
        with pytest.raises(BadJson, match="surrogate"):
            read_json(data)
    assert read_json(b'["\\ud83d\\ude00"]') == ["\U0001f600"]
