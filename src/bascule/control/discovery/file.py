"""Lists of nodes in files, read again when they change. The simplest registry: whatever writes files can feed it.

    discovery:
      file:
        path: services.yaml

A file is YAML or JSON: the names of services, with nodes in either of the forms that upstreams take.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from bascule.control.discovery.discovery import (
    DiscoveredNode,
    Discovery,
    DiscoveryConfig,
    DiscoveryFailure,
    Found,
)
from bascule.errors.sentences import sentences
from bascule.model.admin_settings import Duration
from bascule.model.attributes import Model
from bascule.model.node import MapNode, NodeConf, Nodes
from bascule.model.yaml_document import YamlDocument, YamlRefused

MAX_BYTES = 64 << 20
SOURCE = "files"
Stamp = tuple[int, int, int, int] | None
Lists = dict[str, tuple[DiscoveredNode, ...]]


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
        paths = [self.host.folder / path for path in self.conf.path]
        before: list[Stamp] | None = None
        while True:
            stamps = await asyncio.to_thread(lambda: [_stamp(path) for path in paths])
            if stamps != before:
                before = stamps
                try:
                    yield Found(await asyncio.to_thread(_read_all, paths), source=SOURCE)
                except DiscoveryFailure as failure:
                    yield DiscoveryFailure(str(failure), SOURCE)
                    if isinstance(failure, _Unreadable):
                        before = None  # it may be another time, without a change of the file
            await asyncio.sleep(self.conf.check_interval)


class _Unreadable(DiscoveryFailure):
    """A file can't be read at all."""


def _read_all(paths: Sequence[Path]) -> Lists:
    """Raises DiscoveryFailure."""
    nodes: Lists = {}
    for path in paths:
        for name, listed in _read(path).items():
            if name in nodes:
                raise DiscoveryFailure(f"{path}: the service {name!r} stands in another file, too")
            nodes[name] = listed
    return nodes


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _read(path: Path) -> Lists:
    """Raises DiscoveryFailure."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DiscoveryFailure(f"{path} has more than {MAX_BYTES} bytes")
        data = path.read_bytes()
        document = orjson.loads(data) if path.suffix == ".json" else YamlDocument(data, None).value
    except OSError as error:
        raise _Unreadable(f"{path} can't be read: {(error.strerror or str(error)).lower()}") from None
    except YamlRefused as refused:
        line, _, sentence = refused.faults[0]
        raise DiscoveryFailure(f"{path}{'' if line is None else f':{line}'}: {sentence}") from None
    except ValueError as error:
        raise DiscoveryFailure(f"{path} is no JSON: {error}") from None
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
    nodes: tuple[NodeConf | MapNode, ...] = conf.nodes  # type: ignore[assignment]
    return tuple(DiscoveredNode(node.host, node.port, node.weight, node.priority, node.metadata) for node in nodes)
