"""Path normalisation: a table of what nginx makes of a path, and properties that hold for any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.wire.target import is_plain, normalise
from fuzz import reference

PATHS: dict[bytes, bytes | None] = {
    b"": b"/",
    b"/": b"/",
    b"/a": b"/a",
    b"/a/": b"/a/",
    b"//": b"/",
    b"//a///b//": b"/a/b/",
    b"/.": b"/",
    b"/./": b"/",
    b"/a/.": b"/a/",
    b"/a/./b": b"/a/b",
    b"/a/..": b"/",
    b"/a/../": b"/",
    b"/a/b/..": b"/a/",
    b"/a/b/../c": b"/a/c",
    b"/a/b/../../c": b"/c",
    b"/a//../b": b"/b",
    b"/..": None,
    b"/../a": None,
    b"/a/../..": None,
    b"/a/../../a": None,
    b"//..": None,
    b"/...": b"/...",
    b"/..a": b"/..a",
    b"/.a": b"/.a",
    b"/a.": b"/a.",
    b"/a/..;/b": b"/a/..;/b",
    b"/%61": b"/a",
    b"/%2e%2e/a": None,
    b"/a/%2E%2e/b": b"/b",
    b"/a/.%2e/b": b"/b",
    b"/a%2fb": b"/a/b",
    b"/a/%2F/b": b"/a/b",
    b"/a%2f..%2fb": b"/b",
    b"/%2f..": None,
    b"/a%20b": b"/a b",
    b"/a+b": b"/a+b",
    b"/%3f%23": b"/?#",
    b"/%25": b"/%",
    b"/%252e%252e/": b"/%2e%2e/",
    b"/%C3%A9": "/é".encode(),
    b"/%ff": b"/\xff",
    b"/%0a": b"/\n",
    b"/%00": None,
    b"/a%00.php": None,
    b"/%": None,
    b"/%4": None,
    b"/%g1": None,
    b"/%1g": None,
    b"/%%41": None,
    b"/% 1": None,
    b"/a\\..\\b": b"/a\\..\\b",
    b"*": None,
    b"a/b": None,
}


@pytest.mark.parametrize("path", PATHS)
def test_paths(path: bytes) -> None:
    assert normalise(path) == PATHS[path]


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (b"/a%2Fb%2fc", b"/a%2Fb%2fc"),
        (b"/a%2F..%2Fb", b"/a%2F..%2Fb"),
        (b"/a/%2F/../b", b"/a/b"),
        (b"/%2F", b"/%2F"),
        (b"/%2e%2e%2f", b"/..%2f"),
    ],
)
def test_encoded_slashes_can_be_kept(path: bytes, kept: bytes) -> None:
    assert normalise(path, keep_encoded_slash=True) == kept


@pytest.mark.parametrize(
    ("path", "stripped"),
    [
        (b"/a;v=1/b;w", b"/a/b"),
        (b"/a/..;/b", b"/b"),
        (b"/..;x", None),
        (b"/;x/a", b"/a"),
        (b"/a/;x", b"/a/"),
        (b"/a%3Bx/b", b"/a/b"),
        (b"/a/.;x", b"/a/"),
    ],
)
def test_parameters_can_be_stripped(path: bytes, stripped: bytes | None) -> None:
    assert normalise(path, servlet=True) == stripped


@pytest.mark.parametrize("path", [b"/", b"/a", b"/a/b/", b"/a.b", b"/a;b", b"/a.", b"/~a", b"/a?b"])
def test_plain_paths(path: bytes) -> None:
    assert is_plain(path)
    assert normalise(path) == path


@pytest.mark.parametrize(
    "path", [b"", b"*", b"a", b"//", b"/a//b", b"/.", b"/a/.b", b"/..", b"/%41", b"/a%", b"/a/.", b"%"]
)
def test_paths_that_need_a_look(path: bytes) -> None:
    assert not is_plain(path)


PIECES = st.lists(st.sampled_from([b"/", b".", b"..", b"%2e", b"%2F", b"a", b";", b"%", b"%41", b"%25", b"\xff", b"?"]))


@given(PIECES.map(b"".join), st.booleans(), st.booleans())
def test_any_path(tail: bytes, keep: bool, servlet: bool) -> None:
    path = b"/" + tail
    found = normalise(path, keep, servlet)
    assert found == reference.normalise(path, keep, servlet)
    if is_plain(path):
        assert normalise(path) == path
    if found is None:
        return
    assert found.startswith(b"/")
    assert not {b".", b".."} & set(found.split(b"/"))
    assert b"//" not in found
    if b"%" not in found:
        assert normalise(found, keep, servlet) == found
