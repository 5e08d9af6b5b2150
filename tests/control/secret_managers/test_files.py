import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from bascule.control.secret_managers.files import LONGEST, Files, path_of
from bascule.control.secret_managers.manager import SecretFailure
from tests.servers.certificates import Certificates

ITEM = ("ssls", "1")


def fetch(files: Files, *paths: Path) -> list[Any]:
    found = asyncio.run(files.fetch([str(path) for path in paths]))
    return [found[str(path)] for path in paths]


@pytest.mark.parametrize(
    ("reference", "path"),
    [("$file:///a/b", "/a/b"), ("$FILE:///a", "/a"), ("$file://a", None), ("$file:///a\0b", None), ("$file://", None)],
)
def test_path_of(reference: str, path: str | None) -> None:
    assert path_of(reference) == path


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    files, path = Files(), tmp_path / "a"
    path.write_text("one\n\n")
    assert fetch(files, path) == ["one\n"]  # one line end is the editor's
    path.write_text("two, longer")
    assert fetch(files, path) == ["two, longer"]
    (tmp_path / "b").write_text("three, 3 long")
    os.replace(tmp_path / "b", path)
    assert fetch(files, path) == ["three, 3 long"]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    files, path = Files(), tmp_path / "a"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * (LONGEST + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    told = fetch(files, path, tmp_path, tmp_path / "pipe", tmp_path / "large", tmp_path / "binary")
    assert all(isinstance(one, SecretFailure) and not one.gone for one in told)
    assert [str(one) for one in told] == [
        "no such file or directory",
        "it is no file",
        "it is no file",
        f"the file is larger than {LONGEST} bytes",
        "the file holds no UTF-8 text",
    ]


@pytest.fixture
def authority(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def reference(path: Path) -> str:
    return f"$file://{path}"


@pytest.mark.parametrize("first", ["cert", "key"])
@pytest.mark.parametrize("form", ["pair", "further", "client"])
def test_a_pair_changes_at_once(first: str, form: str, authority: Certificates, tmp_path: Path) -> None:
    files, cert, key = Files(), tmp_path / "a.crt", tmp_path / "a.key"
    old, new = authority.issue("old"), authority.issue("new")
    old.cert.rename(cert)
    old.key.rename(key)
    names = (reference(cert), reference(key))
    value: dict[str, Any] = {
        "pair": {"cert": names[0], "key": names[1]},
        "further": {"certs": ["inline", names[0]], "keys": ["inline", names[1]]},
        "client": {"upstream": {"tls": {"client_cert": names[0], "client_key": names[1]}}},
    }[form]
    files.note(ITEM, [value])
    before = fetch(files, cert, key)
    steps = [(new.cert, cert), (new.key, key)]
    changed, same = (0, 1) if first == "cert" else (1, 0)
    os.replace(*steps[changed])
    found = fetch(files, cert, key)
    assert found[same] == before[same]
    assert str(found[changed]) == f"{key} isn't the key of {cert}; the pair of before stays in use"
    os.replace(*steps[same])
    assert fetch(files, cert, key) == [path.read_text().removesuffix("\n") for path in (cert, key)]


def test_what_vanishes_of_a_pair_holds_the_other_back(authority: Certificates, tmp_path: Path) -> None:
    files, pair, new = Files(), authority.server, authority.issue("new")
    files.note(ITEM, [{"cert": reference(pair.cert), "key": reference(pair.key)}])
    before = fetch(files, pair.cert, pair.key)
    os.replace(new.key, pair.key)
    pair.cert.unlink()
    assert all(isinstance(one, SecretFailure) for one in fetch(files, pair.cert, pair.key))
    os.replace(new.cert, pair.cert)
    assert all(isinstance(one, str) for one in fetch(files, pair.cert, pair.key))
    assert fetch(files, pair.cert, pair.key) != before


def test_what_never_fitted_is_handed_out(authority: Certificates) -> None:
    """Whoever serves it says what is wrong, with the place."""
    files, one, other = Files(), authority.server, authority.client
    files.note(ITEM, [{"cert": reference(one.cert), "key": reference(other.key)}])
    assert all(isinstance(found, str) for found in fetch(files, one.cert, other.key))


def test_pairs_are_forgotten_with_their_item(authority: Certificates, tmp_path: Path) -> None:
    files, pair, new = Files(), authority.server, authority.issue("new")
    value = {"cert": reference(pair.cert), "key": reference(pair.key)}
    files.note(ITEM, [value])
    files.note(ITEM, [{}], more=True)  # a version that may not come into use
    fetch(files, pair.cert, pair.key)
    os.replace(new.key, pair.key)
    assert isinstance(fetch(files, pair.key)[0], SecretFailure)
    files.note(ITEM, [])
    assert isinstance(fetch(files, pair.key)[0], str)
    files.forget(str(pair.key))
    assert isinstance(fetch(files, pair.key)[0], str)
