"""Literal addresses, and names that are none."""

import pytest

from bascule.net.address import roundtrip


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
    ],
)
@pytest.mark.parametrize("port", [1, 80, 65535])
def test_literals(host: str, text: str, port: int) -> None:
    assert roundtrip(host, port) == (text, port)


@pytest.mark.parametrize("host", ["localhost", "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "::g", "a:b", "bücher.example"])
def test_names(host: str) -> None:
    assert roundtrip(host, 80) is None


def test_a_unix_path_is_a_literal_of_at_most_107_bytes() -> None:
    assert roundtrip("unix:" + "/" * 107, 0) is not None
    with pytest.raises(ValueError, match="longer than 107"):
        roundtrip("unix:" + "/" * 108, 0)
