import pytest

from bascule.store.stored_value import NotAResource, format_value, parse_value


def test_there_and_back() -> None:
    assert parse_value(format_value({"id": "1", "desc": "grüße"})) == {"id": "1", "desc": "grüße"}


def test_raw_newlines_in_strings_are_read() -> None:
    assert parse_value(b'{"desc": "two\nlines"}') == {"desc": "two\nlines"}


@pytest.mark.parametrize("data", [b"", b"init_dir", b"[1]", b'"x"', b"{", b"\xff", b'{"a":' * 100_000])
def test_what_is_no_resource_is_said_so(data: bytes) -> None:
    with pytest.raises(NotAResource, match="its stored value is not"):
        parse_value(data)
