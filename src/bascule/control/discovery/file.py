"""Lists of nodes in files, read again when they change. The simplest registry: whatever writes files can feed it.

    discovery:
      file:
        path: services.yaml

A file is YAML or JSON: the names of services, with nodes in either of the forms that upstreams take.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from bascule.control.discovery.discovery import (
    DiscoveredNode,
    Discovery,
    DiscoveryConfig,
    DiscoveryFailure,
    Found,
    again,
    closing,
)
from bascule.errors.sentences import sentences
from bascule.model.admin_settings import Duration
from bascule.model.attributes import Model
from bascule.model.node import NodeConf, Nodes

MAX_BYTES = 64 << 20
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Stamp = tuple[int, int, int] | None


class _Listed(Model):
    nodes: Nodes


_ADAPTER: TypeAdapter[_Listed] = TypeAdapter(_Listed)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class FileConfig(DiscoveryConfig):
    """`path`: one file or several, relative to config.yaml; `check_interval`: how often they are looked at."""

    path: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_list), Field(min_length=1)]
    check_interval: Annotated[Duration, Field(ge=0.05)] = 1.0
    empty_after: Duration = 0.0  # whoever edits a file means it


class File(Discovery[FileConfig]):
    Config = FileConfig

    async def watch_all(self) -> AsyncIterator[Found | DiscoveryFailure]:
        async with closing(again(self._look, "files")) as telling:
            async for told in telling:
                yield told

    async def _look(self) -> AsyncIterator[Found]:
        paths = [self.host.folder / path for path in self.conf.path]
        before: list[Stamp] | None = None
        while True:
            stamps = await asyncio.to_thread(lambda: [_stamp(path) for path in paths])
            if stamps != before:
                nodes: dict[str, tuple[DiscoveredNode, ...]] = {}
                for path in paths:
                    for name, listed in (await asyncio.to_thread(_read, path)).items():
                        if name in nodes:
                            raise DiscoveryFailure(f"{path}: the service {name!r} stands in another file, too")
                        nodes[name] = listed
                yield Found(nodes, source="files")
                before = stamps
            await asyncio.sleep(self.conf.check_interval)


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(path: Path) -> dict[str, tuple[DiscoveredNode, ...]]:
    """Raises DiscoveryFailure."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DiscoveryFailure(f"{path} has more than {MAX_BYTES} bytes")
        data = path.read_bytes()
        document = orjson.loads(data) if path.suffix == ".json" else yaml.load(data, _LOADER)
    except OSError as error:
        raise DiscoveryFailure(f"{path} can't be read: {(error.strerror or str(error)).lower()}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise DiscoveryFailure(f"{path} is no {'JSON' if path.suffix == '.json' else 'YAML'}: {_line(error)}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise DiscoveryFailure(f"{path} must hold an object: names of services, with their nodes")
    return {str(name): _nodes(path, str(name), listed) for name, listed in document.items()}


def _nodes(path: Path, name: str, listed: Any) -> tuple[DiscoveredNode, ...]:
    given = {"nodes": listed}
    try:
        conf = _ADAPTER.validate_python(given)
    except ValidationError as error:
        place, sentence = sentences(error, given, _Listed, "")[0]
        place = place.removeprefix(".nodes")
        raise DiscoveryFailure(f"{path}: {name}{place}: {sentence}") from None
    nodes: tuple[NodeConf, ...] = conf.nodes  # type: ignore[assignment]
    return tuple(DiscoveredNode(node.host, node.port, node.weight, node.priority, node.metadata) for node in nodes)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
