"""What `$file:///path` stands for: a file's text, read again when the file has changed.

A certificate and its key are two files, which nobody can renew at the same moment: what fitted before stays until both
fit again.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from bascule.control.secret_managers.manager import SecretFailure
from bascule.snapshot.certificates import belong_together
from bascule.snapshot.references import is_file

FORM = "must have the form $file:///path with an absolute path"
LONGEST = 1 << 20
_PAIRS = (("cert", "key"), ("client_cert", "client_key"))
Found = str | SecretFailure
Stamp = tuple[int, int, int]


def path_of(reference: str) -> str | None:
    """None if it isn't of the right form."""
    path = reference.partition("://")[2]
    return path if path.startswith("/") and "\0" not in path else None


class Files:
    """`fetch` looks at all files in one go, in another thread."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Stamp, str]] = {}
        self._given: dict[str, str] = {}
        self._pairs: dict[tuple[str, str], frozenset[tuple[str, str]]] = {}  # of items: (certificate, key)

    def note(self, item: tuple[str, str], values: Iterable[Any], *, more: bool = False) -> None:
        """What an item's versions hold; with `more` beside what it held before."""
        found = frozenset(pair for value in values for pair in _pairs_in(value))
        if more:
            found |= self._pairs.get(item, frozenset())
        if found:
            self._pairs[item] = found
        else:
            self._pairs.pop(item, None)

    def forget(self, path: str) -> None:
        self._read.pop(path, None)
        self._given.pop(path, None)

    async def fetch(self, paths: Iterable[str]) -> dict[str, Found]:
        """Never says that a text is gone: what was read before counts until there is something new."""
        wanted = set(paths)
        pairs = {pair for held in self._pairs.values() for pair in held if not wanted.isdisjoint(pair)}
        every = wanted.union(*pairs)
        found = await asyncio.to_thread(lambda: {path: self._look(path) for path in every})
        for cert, key in pairs:
            self._hold_back(cert, key, found)
        answers = {path: found[path] for path in wanted}
        self._given.update((path, text) for path, text in answers.items() if isinstance(text, str))
        return answers

    def _hold_back(self, cert: str, key: str, found: dict[str, Found]) -> None:
        """If a pair fitted and doesn't any more, what is new of it waits."""
        before = self._given.get(cert), self._given.get(key)
        now = found[cert], found[key]
        if before == now or not _fits(*before) or _fits(*now):
            return
        for path, old, new in zip((cert, key), before, now, strict=True):
            if isinstance(new, str) and new != old:
                found[path] = SecretFailure(f"{key} isn't the key of {cert}; the pair of before stays in use")

    def _look(self, path: str) -> Found:
        try:
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode):
                return SecretFailure("it is no file")
            if found.st_size > LONGEST:
                return SecretFailure(f"the file is larger than {LONGEST} bytes")
            stamp = found.st_mtime_ns, found.st_ino, found.st_size
            known = self._read.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            with open(path, "rb") as file:
                text = file.read(LONGEST).decode().removesuffix("\n")
        except OSError as error:
            return SecretFailure((error.strerror or str(error)).lower())
        except UnicodeDecodeError:
            return SecretFailure("the file holds no UTF-8 text")
        self._read[path] = stamp, text
        return text


def _fits(cert: Found | None, key: Found | None) -> bool:
    return isinstance(cert, str) and isinstance(key, str) and belong_together(cert, key)


def _pairs_in(value: Any) -> Iterator[tuple[str, str]]:
    """(certificate, key): paths."""
    if isinstance(value, list):
        for inner in value:
            yield from _pairs_in(inner)
    if not isinstance(value, dict):
        return
    pairs = [(value.get(cert), value.get(key)) for cert, key in _PAIRS]
    certs, keys = value.get("certs"), value.get("keys")
    if isinstance(certs, list) and isinstance(keys, list):
        pairs += zip(certs, keys, strict=False)
    for cert, key in pairs:
        if isinstance(cert, str) and isinstance(key, str) and is_file(cert) and is_file(key):
            paths = path_of(cert), path_of(key)
            if paths[0] is not None and paths[1] is not None:
                yield paths[0], paths[1]
    for inner in value.values():
        yield from _pairs_in(inner)
