import pytest

from bascule.match.address import REMEMBERED, AddressSet, parse_address


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        (["10.0.0.0/8"], ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "9.255.255.255", "::a00:1"]),
        (["10.1.2.3/8"], ["10.9.9.9"], ["11.0.0.0"]),
        (["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"]),
        (["0.0.0.0/0"], ["1.2.3.4"], ["::1"]),
        (["::/0"], ["::1", "fe80::1"], ["1.2.3.4"]),
        (["2001:db8::/32", "10.0.0.1"], ["2001:db8:1::1", "2001:DB8::"], ["2001:db9::1"]),
        (["::ffff:10.0.0.0/104"], ["10.1.2.3", "::ffff:10.1.2.3"], ["11.0.0.1", "::1"]),
        (["::ffff:127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"]),
        (["10.0.0.0/9", "10.0.0.0/24", "10.0.0.1"], ["10.0.0.1", "10.127.0.1"], ["10.128.0.1"]),
        ([], [], ["1.2.3.4", "", "x", "1.2.3", "1.2.3.4:80", "1.2.3.4/32", "unix:"]),
    ],
)
def test_membership(patterns: list[str], inside: list[str], outside: list[str]) -> None:
    addresses = AddressSet(patterns)
    for _ in range(2):  # the second time from memory
        assert [text for text in inside + outside if text in addresses] == inside
    assert None not in addresses


@pytest.mark.parametrize("pattern", ["", "localhost", "1.2.3", "1.2.3.4/33", "::1/129", "1.2.3.4-5", "010.0.0.1"])
def test_bad_patterns_are_named(pattern: str) -> None:
    with pytest.raises(ValueError, match=f"^'{pattern}' is not an IP address or CIDR$"):
        AddressSet(["1.1.1.1", pattern])


def test_memory_is_bounded() -> None:
    addresses = AddressSet(["10.0.0.0/16"])
    for i in range(3 * REMEMBERED):
        assert f"10.0.{i // 256}.{i % 256}" in addresses
    assert len(addresses._remembered) <= REMEMBERED
    assert repr(addresses) == "AddressSet(['10.0.0.0/16'])"


def test_parse_address() -> None:
    assert parse_address("0.0.1.0") == (32, 256)
    assert parse_address("::2") == (128, 2)
    assert parse_address("::ffff:0.0.0.5") == (32, 5)
    assert parse_address("nobody") is None
