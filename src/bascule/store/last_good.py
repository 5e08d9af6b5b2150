"""The last configuration that a cluster told, kept on the disk: a node begins with it while the cluster is away."""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from bascule.store.durable_file import make_folder, replace_file
from bascule.store.entry import Batch, Entry, Event

log = logging.getLogger("bascule.store")

_FORMAT = 1
_SOON_S = 0.5
_LINES_AT_ONCE = 50
_TIMES = 10  # a configuration that takes long to write is written so many times less often


class LastGoodRefused(Exception):
    """The file can't be used. The text says which, and why."""


class LastGood:
    """`source`: what it is the configuration of; one that was kept of something else isn't taken for it.

    The calls block: they read and write a file."""

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self._source = source

    def save(self, revision: int, entries: Iterable[Entry]) -> None:
        """Atomic and durable; readable by its owner alone. Raises OSError."""
        make_folder(self.path.parent)
        replace_file(self.path, self._lines(revision, entries))

    def _lines(self, revision: int, entries: Iterable[Entry]) -> Iterator[bytes]:
        yield orjson.dumps({"format": _FORMAT, "source": self._source, "revision": revision}) + b"\n"
        for number, entry in enumerate(entries):
            if number % _LINES_AT_ONCE == 0:
                time.sleep(0)  # the interpreter's lock goes to whoever waits for it: the loop's thread
            yield _line(entry)
        yield b'"end"\n'

    def load(self) -> Batch | None:
        """A complete batch; None: nothing was kept. Raises LastGoodRefused."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LastGoodRefused(f"{self.path} can't be read: {(error.strerror or str(error)).lower()}") from error
        try:
            head, *items, end, nothing = data.split(b"\n")
            told = orjson.loads(head)
            events = [_event(orjson.loads(item)) for item in items]
            if told["format"] != _FORMAT or orjson.loads(end) != "end" or nothing:
                raise ValueError
            revision, source = int(told["revision"]), told["source"]
        except (ValueError, KeyError, TypeError) as error:
            raise LastGoodRefused(f"{self.path} is damaged, or of another version of Bascule") from error
        if source != self._source:
            raise LastGoodRefused(f"{self.path} holds the configuration of {source}, not of {self._source}")
        return Batch(revision, events, complete=True)


class LastGoodKeeper:
    """Writes it some time after a change, in another thread. `look`: the state to keep; called in the loop's thread."""

    def __init__(self, file: LastGood, look: Callable[[], tuple[int, list[Entry]]]) -> None:
        self._file = file
        self._look = look
        self._changed = asyncio.Event()
        self._dirty = False
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    def changed(self) -> None:
        """Within a second it is on the disk, unless it takes long to write and has just been written."""
        self._dirty = True
        self._changed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="last-good")

    async def close(self) -> None:
        """What has changed is written."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._dirty:
            await self._write()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            await asyncio.sleep(_SOON_S)
            began = loop.time()
            await self._write()
            await asyncio.sleep(_TIMES * (loop.time() - began))

    async def _write(self) -> None:
        self._changed.clear()
        self._dirty = False
        revision, entries = self._look()
        writing = asyncio.get_running_loop().run_in_executor(None, self._file.save, revision, entries)
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            self._dirty = True  # by `close`, which writes once more; two at once may not be
            await asyncio.wait([writing])
            raise
        except OSError as error:
            if not self._failed:
                why = (error.strerror or str(error)).lower()
                log.error("the last good configuration can't be kept in %s: %s", self._file.path, why)
            self._failed = True
        else:
            self._failed = False


def _line(entry: Entry) -> bytes:
    one: dict[str, Any] = {"key": entry.key, "created": entry.created, "modified": entry.modified}
    try:
        one["value"] = entry.value.decode()
    except UnicodeDecodeError:
        one["base64"] = b64encode(entry.value).decode()
    return orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE)


def _event(one: dict[str, Any]) -> Event:
    value = one["value"].encode() if "value" in one else b64decode(one["base64"])
    return Event(str(one["key"]), value, int(one["created"]), int(one["modified"]))
