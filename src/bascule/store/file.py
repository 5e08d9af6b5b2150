"""The standalone file: apisix.yaml (ended by #END) or apisix.json, read whole, handed on as changes.

Only what differs from the last reading is handed on, told by a digest of each item: the documents themselves are not kept.
A file that cannot be read, or is half written, changes nothing; that is said once.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bascule.errors.config_error import ConfigError
from bascule.model.change import Change
from bascule.model.kinds import KINDS
from bascule.model.substitution import MissingVariable, substitute_json
from bascule.model.yaml_document import YamlDocument, YamlRefused, decode

_TAIL_BYTES = 64
_IGNORED_KEYS = frozenset({"plugins"})  # which plugins there are is config.yaml's to say
_VERSION_KEY = re.compile(r".*_conf_version")
_Stamp = tuple[int, int, int]


@dataclass(slots=True)
class Loaded:
    """`changes` against the last reading; `errors` of the file itself as it is now (items are checked by the tables)."""

    changes: list[Change] = field(default_factory=list)
    errors: tuple[ConfigError, ...] = ()


class FileStore:
    def __init__(self, path: Path, *, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._json = path.suffix == ".json"
        self._stamp: _Stamp | None = None
        self._digests: dict[tuple[str, str], bytes] = {}
        self._errors: tuple[ConfigError, ...] = ()
        self._document: bytes = b""

    def __repr__(self) -> str:
        return f"<file store {self._path} items={len(self._digests)}>"

    def load(self) -> Loaded:
        """Everything in the file. A file that doesn't exist holds nothing, and is read once it appears."""
        self._stamp = self._now()
        return self._read()

    def poll(self) -> Loaded | None:
        """What changed since the last reading; None: the file is the same, or says the same."""
        stamp = self._now()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        before = self._errors
        loaded = self._read()
        return loaded if loaded.changes or loaded.errors != before else None

    def _now(self) -> _Stamp | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _refuse(self, *errors: ConfigError) -> Loaded:
        self._errors = errors
        return Loaded(errors=errors)

    def _error(self, path: str, sentence: str, line: int | None = None) -> ConfigError:
        return ConfigError("", None, path, sentence, str(self._path), line)

    def _read(self) -> Loaded:
        if self._stamp is None:
            if self._digests:  # it was there: a file being replaced, or a mistake; nothing is thrown away for it
                return self._refuse(self._error("", "the file is gone; what it held last goes on being served"))
            return self._refuse()
        try:
            data = self._path.read_bytes()
        except OSError as error:
            return self._refuse(self._error("", f"cannot be read: {(error.strerror or str(error)).lower()}"))
        if not self._json and b"#END" not in data[-_TAIL_BYTES:]:
            return self._refuse(self._error("", "does not end with #END: it may be half written, and is not loaded"))
        try:
            document, lines = self._parse(data)
        except YamlRefused as refused:
            return self._refuse(*(self._error(path, text, line) for line, path, text in refused.faults))
        if document is None:
            document = {}
        if not isinstance(document, dict):
            return self._refuse(self._error("", "must be a mapping of resource kinds to lists"))
        return self._diff(document, lines)

    def _parse(self, data: bytes) -> tuple[Any, YamlDocument | None]:
        if not self._json:
            document = YamlDocument(data, self._environ)
            return document.value, document
        try:
            if b"${{" in data:
                data = substitute_json(decode(data), self._environ).encode()
            return orjson.loads(data) if data.strip() else {}, None
        except MissingVariable as missing:
            raise YamlRefused([(missing.line, "", str(missing))]) from None
        except orjson.JSONDecodeError as error:
            raise YamlRefused([(error.lineno, "", f"is not valid JSON: {error.msg}")]) from None

    def _diff(self, document: dict[str, Any], yaml: YamlDocument | None) -> Loaded:
        errors: list[ConfigError] = []
        changes: list[Change] = []
        digests: dict[tuple[str, str], bytes] = {}
        seen_lines: dict[tuple[str, str], int | None] = {}
        for kind, items in document.items():
            if kind in _IGNORED_KEYS or _VERSION_KEY.fullmatch(kind):
                continue
            line = yaml.line([kind]) if yaml else None
            if kind not in KINDS or kind == "credentials":
                errors.append(self._error(f"$.{kind}", "is not a kind of resource; there are " + ", ".join(KINDS), line))
                continue
            if items is None:
                continue
            if not isinstance(items, list):
                errors.append(self._error(f"$.{kind}", "must be a list", line))
                continue
            item_lines = yaml.item_lines(kind) if yaml else []
            for i, item in enumerate(items):
                line = item_lines[i] if i < len(item_lines) else None
                key, value, sentence = _identity(kind, item, i)
                if key is None:
                    errors.append(self._error(f"$.{kind}[{i}]", sentence, line))
                    continue
                if key in digests:
                    first = seen_lines[key]
                    where = f" in line {first}" if first else ""
                    errors.append(self._error(f"$.{kind}[{i}]", f"the id {key[1]!r} stands here and{where or ' before'}", line))
                    continue
                digest = hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
                digests[key] = digest
                seen_lines[key] = line
                if self._digests.get(key) != digest:
                    changes.append(Change(*key, value, 0, str(self._path), line))
        for key in self._digests.keys() - digests.keys():
            changes.append(Change(*key, None))
        self._digests = digests
        self._errors = tuple(errors)
        return Loaded(changes, self._errors)


def _identity(kind: str, item: Any, position: int) -> tuple[tuple[str, str] | None, dict[str, Any], str]:
    """((kind, id), value, "") of an item, or (None, {}, what is wrong)."""
    if not isinstance(item, dict):
        return None, {}, "must be an object"
    if kind == "consumers":
        id = item.get("id")
        if isinstance(id, str) and "/credentials/" in id:
            return ("credentials", id), {**item, "id": id.rpartition("/")[2]}, ""
        name = item.get("username")
        if not isinstance(name, str) or not name:
            return None, {}, 'a consumer needs a "username"'
        return ("consumers", name), {k: v for k, v in item.items() if k != "id"}, ""
    id = item.get("id")
    if id is None:
        # As in APISIX, an item needs no id when nothing names it: its place in the list stands in.
        if kind in ("plugin_metadata", "secrets"):
            return None, {}, 'needs an "id"'
        return (kind, f"arr_{position + 1}"), item, ""
    if isinstance(id, bool) or not isinstance(id, str | int):
        return None, {}, '"id" must be a string or a number'
    if kind in ("plugin_metadata", "secrets"):
        return (kind, str(id)), {k: v for k, v in item.items() if k != "id"}, ""
    return (kind, str(id)), item, ""
