import pytest

from bascule.match.candidate import METHODS, Entry
from bascule.match.route_match import RouteMatch


def shape(entry: Entry) -> list[tuple[str, str | None]]:
    return [(candidate.pattern, candidate.host_pattern) for candidate in entry.candidates]


def test_one_candidate_per_host_and_path_when_hosts_stand_in_a_tree() -> None:
    match = RouteMatch(("/a", "/b*"), ("x.com", "*.y.com"))
    assert sorted(shape(Entry("1", match, None, True, False))) == [
        ("/a", "*.y.com"), ("/a", "x.com"), ("/b*", "*.y.com"), ("/b*", "x.com")
    ]  # fmt: skip
    assert shape(Entry("1", match, None, False, False)) == [("/a", None), ("/b*", None)]


def test_two_spellings_of_one_host_are_one() -> None:
    assert shape(Entry("1", RouteMatch(("/",), ("X.com", "x.com", "x.com:80")), None, True, False)) == [("/", "X.com")]


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'x' is not an IP address"):
        Entry("1", RouteMatch(("/",), remote_addrs=("x",)), None, True, False)


def test_methods_have_the_parsers_numbers() -> None:
    assert list(METHODS.values()) == list(range(1, 11))
    assert (METHODS["GET"], METHODS["PURGE"]) == (1, 10)
