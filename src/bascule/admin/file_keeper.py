"""The whole configuration in a standalone file, for a gateway that serves from one: written whole, and then noticed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bascule.admin.document import BodyRefused, as_json, as_yaml, document_of, parse_body
from bascule.admin.whole import Replacement, Whole
from bascule.store.durable_file import make_folder, replace_file
from bascule.store.entry import Conflict, StoreUnavailable
from bascule.store.standalone import read_standalone


class FileKeeper:
    """`path`: apisix.yaml or apisix.json. `mark_path`: a file beside the other generated ones. References to the
    environment (`${{NAME}}`) stay as they are written."""

    takes_plugins = True

    def __init__(self, path: Path, mark_path: Path) -> None:
        self._path = path
        self._mark_path = mark_path
        self._writing = asyncio.Lock()

    async def read(self) -> Whole:
        return await asyncio.to_thread(self._read)

    def _read(self) -> Whole:
        stamp = self._stamp()
        whole = Whole(stamp=stamp, mark=self._read_mark())
        if stamp is None:
            return whole
        try:
            document = self._parse(self._path.read_bytes())
        except OSError as error:
            raise StoreUnavailable(f"{self._path} cannot be read: {(error.strerror or str(error)).lower()}") from error
        except BodyRefused as error:
            whole.trouble = f"{self._path} cannot be read: {error}"
            return whole
        found = read_standalone(document)
        whole.items = {(item.kind, item.id): item.value for item in found.items}
        if isinstance(document, dict):
            whole.plugins = document.get("plugins")
        return whole

    def _parse(self, data: bytes) -> Any:
        if not data.strip():
            return None
        return parse_body(data, "application/json" if self._path.suffix == ".json" else "application/yaml")

    def _read_mark(self) -> dict[str, Any]:
        try:
            mark = json.loads(self._mark_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return mark if isinstance(mark, dict) else {}

    async def write(self, new: Replacement) -> int:
        async with self._writing:
            await asyncio.to_thread(self._write, new)
        return 0

    def _write(self, new: Replacement) -> None:
        if self._stamp() != new.before.stamp:
            raise Conflict
        document: dict[str, Any] = dict(document_of(new.items, times=True))
        if new.plugins is not None:
            document = {"plugins": new.plugins, **document}
        try:
            replace_file(self._path, as_json(document) if self._path.suffix == ".json" else as_yaml(document))
            if new.mark is not None:
                self._write_mark(new.mark)
        except OSError as error:
            raise StoreUnavailable(f"{error.filename} cannot be written: {(error.strerror or '').lower()}") from error

    def _write_mark(self, mark: Mapping[str, Any]) -> None:
        make_folder(self._mark_path.parent)
        replace_file(self._mark_path, json.dumps(mark, sort_keys=True).encode())

    def _stamp(self) -> object:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
