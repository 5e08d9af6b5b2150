"""The last good lists, on the disk: a gateway that starts while a registry is away begins with them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from bascule.control.discovery.http import DiscoveryFailure
from bascule.control.discovery.node_list import checked, described, nodes_of_dump
from bascule.model.discovery import DiscoveredNode, Service
from bascule.store.durable_file import make_folder, replace_file

log = logging.getLogger("bascule.discovery")

Lists = Mapping[Service, tuple[DiscoveredNode, ...]]
FORMAT = 1
MOST = 100_000
EVERY_S = 1.0


def read_kept(path: Path, type: str) -> dict[Service, tuple[DiscoveredNode, ...]]:
    """Nothing, with a warning, if the file can't be used; nothing if there is none."""
    try:
        document = orjson.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise ValueError("of another version of Bascule")
        found = {}
        for one in document["services"]:
            service = Service(type, str(one["name"]), str(one.get("args", "")))
            found[service], _ = checked(nodes_of_dump(one["nodes"]), MOST)
        return found
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("%s can't be read: %s", path, (error.strerror or str(error)).lower())
    except Exception as error:  # whatever it holds, the gateway starts
        log.warning("%s can't be used: %s", path, error)
    return {}


def packed(lists: Lists) -> bytes:
    services = [
        {"name": service.name, "args": service.args, "nodes": described(nodes)} for service, nodes in lists.items()
    ]
    return orjson.dumps({"format": FORMAT, "saved": int(time.time()), "services": services})


def read_dump(path: Path, type: str) -> tuple[dict[Service, tuple[DiscoveredNode, ...]], float, float]:
    """A file in the form of APISIX's `dump`: lists, when it was written, for how many seconds it is good (0: for ever).
    Raises OSError, ValueError."""
    document = orjson.loads(path.read_bytes())
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        raise ValueError("no dump of services")
    lists = {}
    for key, told in document["services"].items():
        name, space, args = key.partition(" {")
        try:
            lists[Service(type, name, f"{{{args}" if space else "")], _ = checked(nodes_of_dump(told), MOST)
        except DiscoveryFailure as failure:
            raise ValueError(str(failure)) from None
    try:
        return lists, float(document.get("last_update") or 0), float(document.get("expire") or 0)
    except TypeError:
        raise ValueError("no time at which it was written") from None


def packed_dump(lists: Lists, expire_s: float) -> bytes:
    services = {f"{one.name} {one.args}".rstrip(): described(nodes) for one, nodes in lists.items()}
    return orjson.dumps({"services": services, "last_update": int(time.time()), "expire": expire_s})


class KeptFile:
    """Writes what `look` gives some time after a change, in another thread."""

    def __init__(self, path: Path, look: Callable[[], bytes]) -> None:
        self.path = path
        self._look = look
        self._dirty = False
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    def changed(self) -> None:
        self._dirty = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write(), name=f"keep {self.path.name}")

    async def close(self) -> None:
        """What has changed is written."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._dirty:
            self._dirty = False
            await self._save()

    async def _write(self) -> None:
        while self._dirty:
            self._dirty = False
            try:
                await asyncio.shield(self._save())
                await asyncio.sleep(EVERY_S)
            except asyncio.CancelledError:
                self._dirty = True
                raise

    async def _save(self) -> None:
        try:
            await asyncio.to_thread(_save, self.path, self._look())
        except Exception as error:
            if not self._failed:
                why = str(error.strerror).lower() if isinstance(error, OSError) and error.strerror else repr(error)
                log.error("the last lists of nodes can't be kept in %s: %s", self.path, why)
            self._failed = True
        else:
            self._failed = False


def _save(path: Path, data: bytes) -> None:
    make_folder(path.parent)
    replace_file(path, data)


def shown(path: Path) -> Any:
    """What the file holds. Raises OSError, ValueError."""
    return orjson.loads(path.read_bytes())
