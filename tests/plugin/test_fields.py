import pytest

from bascule.plugin.fields import check_field
from bascule.plugin.kit.testing import get


@pytest.mark.parametrize("name", ["", "a b", "a:", "ä", "a\r\nb", "(x)"])
def test_a_name_is_a_token(name):
    with pytest.raises(ValueError, match="token"):
        check_field(name)


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\rb", "a\0b", "\x7f", b"\x01"])
def test_a_value_has_no_control_characters(value):
    with pytest.raises(ValueError, match="X-It"):
        check_field("X-It", value)


@pytest.mark.parametrize("name", ["Connection", "transfer-encoding", "Content-Length", "UPGRADE", "TE", "Keep-Alive"])
def test_framing_belongs_to_the_gateway(name):
    with pytest.raises(ValueError, match=name):
        check_field(name, "x")


@pytest.mark.parametrize("value", [None, True, [], {}])
def test_a_value_is_text_or_a_number(value):
    with pytest.raises(TypeError, match="X-It"):
        check_field("X-It", value)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("a\tb", "a\tb"),
        (" a ", "a"),
        (5, "5"),
        (0, "0"),
        (4000, "4000"),
        (999_999_999_012, "999999999012"),
        (2**63 - 1, "9223372036854775807"),
        (2**63, "9223372036854775808"),
        (-7, "-7"),
        (0.5, "0.5"),
        (b"\xe9", "é"),
        ("é", "é"),
        ("漢", "漢".encode().decode("latin-1")),
    ],
)
def test_values_as_they_are_read_back(value, read):
    request = get("/")
    request.set_header("X-It", value)
    assert request.header("x-it") == read
