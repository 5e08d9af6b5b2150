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


def test_long_numbers_are_bounded() -> None:
    with pytest.raises(BadJson, match="digits"):
        read_json(b'{"a": "\n", "n": ' + b"9" * 5000 + b"}")
