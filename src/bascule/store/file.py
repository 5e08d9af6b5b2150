"""The standalone file: apisix.yaml (ended by #END) or apisix.json, read whole, handed on as changes.

Only what differs from the last reading is handed on, told by a digest of each item: the documents are not kept. A file
that can't be read, or is half written, changes nothing; that is said once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from bascule.errors.config_error import ConfigError
from bascule.errors.sentences import json_path
from bascule.model.change import Change
from bascule.model.json_path import parts
from bascule.model.substitution import MissingVariable, substitute_json
from bascule.model.yaml_document import YamlDocument, YamlRefused, decode
from bascule.store.json_positions import JsonPositions
from bascule.store.standalone import Item, read_standalone

_TAIL_BYTES = 64
_RACY_NS = 50_000_000  # a file that is younger may change once more within the clock's grain
Stamp = tuple[int, int, int]


class Positions(Protocol):
    def line(self, path: Sequence[str | int]) -> int | None: ...


@dataclass(slots=True)
class Loaded:
    """`changes` against the last reading; `errors` of the file itself as it is now (items are checked by the tables).
    `plugins`: the list of enabled plugins, if the file has its own."""

    changes: list[Change] = field(default_factory=list)
    errors: tuple[ConfigError, ...] = ()
    plugins: tuple[str, ...] | None = None


class FileStore:
    def __init__(self, path: Path, *, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._json = path.suffix == ".json"
        self._stamp: Stamp | None = None
        self._racy = False
        self._text: bytes | None = None  # digest of the whole
        self._digests: dict[tuple[str, str], bytes] = {}
        self._errors: tuple[ConfigError, ...] = ()
        self._plugins: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"<file store {self._path} items={len(self._digests)} errors={len(self._errors)}>"

    def load(self) -> Loaded:
        """Everything in the file. A file that doesn't exist holds nothing, and is read once it appears."""
        self._digests, self._text, self._errors = {}, None, ()
        self._look()
        return self._read() or Loaded(errors=self._errors, plugins=self._plugins)

    def poll(self) -> Loaded | None:
        """What changed since the last reading; None: the file is the same, or says the same."""
        if not self._look():
            return None
        errors, plugins = self._errors, self._plugins
        loaded = self._read()
        if loaded is None or (not loaded.changes and loaded.errors == errors and loaded.plugins == plugins):
            return None
        return loaded

    def locate(self, errors: tuple[ConfigError, ...]) -> tuple[ConfigError, ...]:
        """The same errors, each with the line of the place that it is about, as near as the file can tell."""
        try:
            data = self._path.read_bytes()
            document, positions = self._parse(data)
        except (OSError, YamlRefused):
            return errors
        places = {(item.kind, item.id): item.place for item in read_standalone(document).items}
        located = []
        for error in errors:
            place = places.get((error.kind, error.id or ""))
            if place is not None:
                line = positions.line((*place, *parts(error.path)))
                error = dataclasses.replace(error, file=str(self._path), line=line)
            located.append(error)
        return tuple(located)

    # ---- reading

    def _look(self) -> bool:
        """Takes the file's stamp; True if it should be read."""
        try:
            found = os.stat(self._path)
        except OSError:
            stamp = None
        else:
            stamp = found.st_mtime_ns, found.st_ino, found.st_size
        changed = stamp != self._stamp or self._racy
        self._stamp = stamp
        self._racy = stamp is not None and time.time_ns() - stamp[0] < _RACY_NS
        return changed

    def _read(self) -> Loaded | None:
        """None: the text is the same as before."""
        if self._stamp is None:
            self._text = None
            if self._digests:  # it was there: a file being replaced, or a mistake; nothing is thrown away for it
                return self._refuse((None, "", "the file is gone; what it held last goes on being served"))
            return self._refuse()
        try:
            data = self._path.read_bytes()
        except OSError as error:
            return self._refuse((None, "", f"cannot be read: {(error.strerror or str(error)).lower()}"))
        text = hashlib.blake2b(data, digest_size=16).digest()
        if text == self._text:
            return None
        self._text = text
        if not self._json and b"#END" not in data[-_TAIL_BYTES:]:
            return self._refuse((None, "", "does not end with #END: it may be half written, and is not loaded"))
        try:
            document, positions = self._parse(data)
        except YamlRefused as refused:
            return self._refuse(*refused.faults)
        return self._diff(document, positions)

    def _refuse(self, *faults: tuple[int | None, str, str]) -> Loaded:
        """The file as a whole is no use: all stays as it was."""
        self._errors = tuple(ConfigError("", None, path, text, str(self._path), line) for line, path, text in faults)
        return Loaded(errors=self._errors, plugins=self._plugins)

    def _parse(self, data: bytes) -> tuple[Any, Positions]:
        """Raises YamlRefused, for JSON too."""
        if not self._json:
            document = YamlDocument(data, self._environ)
            return document.value, document
        try:
            if b"${{" in data:
                data = substitute_json(decode(data), self._environ).encode()
            value = orjson.loads(data) if data.strip() else None
        except MissingVariable as missing:
            raise YamlRefused([(missing.line, "", str(missing))]) from None
        except orjson.JSONDecodeError as error:
            raise YamlRefused([(error.lineno, "", f"is not valid JSON: {error.msg}")]) from None
        return value, _LazyPositions(data)

    def _diff(self, document: Any, positions: Positions) -> Loaded:
        standalone = read_standalone(document)
        faults = standalone.faults
        changes: list[Change] = []
        digests: dict[tuple[str, str], bytes] = {}
        file = str(self._path)
        lines = _item_lines(positions)
        for item in standalone.items:
            key = item.kind, item.id
            try:
                digest = _digest(item)
            except (TypeError, ValueError, RecursionError) as error:
                faults.append((item.place, f"can't be kept as JSON: {error}"))
                continue
            digests[key] = digest
            if self._digests.get(key) != digest:
                changes.append(Change(*key, item.value, 0, file, lines(item.place)))
        changes += [Change(*key, None) for key in self._digests if key not in digests]
        self._digests, self._plugins = digests, standalone.plugins
        self._errors = tuple(
            ConfigError("", None, json_path(place), sentence, file, positions.line(place)) for place, sentence in faults
        )
        return Loaded(changes, self._errors, self._plugins)


class _LazyPositions:
    """Of a JSON text; decoded as a string only when a line is asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._positions: JsonPositions | None = None

    def line(self, path: Sequence[str | int]) -> int | None:
        if not self._data.strip():
            return None
        if self._positions is None:
            self._positions = JsonPositions(self._data.decode())
        return self._positions.line(path)


def _item_lines(positions: Positions) -> Any:
    """Item place -> line; free for YAML, not told for JSON (`locate` does, when there is an error)."""
    if not isinstance(positions, YamlDocument):
        return lambda place: None
    known: dict[str | int, list[int]] = {}

    def line(place: tuple[str | int, ...]) -> int | None:
        kind, position = place
        if kind not in known:
            known[kind] = positions.item_lines(str(kind))
        return known[kind][int(position)] if int(position) < len(known[kind]) else None

    return line


def _digest(item: Item) -> bytes:
    return hashlib.blake2b(orjson.dumps(item.value, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
