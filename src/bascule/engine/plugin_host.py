"""What a plugin instance gets of the gateway: its log, clock, counters, tasks, HTTP client, metrics, kept state."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from operator import getitem
from typing import Any, TypeVar

from bascule.plugin.upstream import Place, UpstreamHandle
from bascule.snapshot.compiled_upstream import ClientTls, CompiledUpstream, Node
from bascule.snapshot.plugin_parts import building
from bascule.snapshot.timeout import Timeout
from bascule.snapshot.upstream_compiler import SECURE

T = TypeVar("T")


class KnownMetadata(dict[str, Any]):
    """By plugin, until the tables change."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def __missing__(self, plugin: str) -> Any:
        value = self[plugin] = self.engine.tables.metadata(plugin)
        return value


class Hosts:
    """Makes hosts, and holds what outlives them: background tasks, state by plugin and key, the HTTP client."""

    def __init__(self, engine: Any, plugin_attr: Mapping[str, Mapping[str, Any]]) -> None:
        self.engine = engine
        self.plugin_attr = plugin_attr
        self.random = random.Random()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.kept: dict[tuple[str, str], Any] = {}
        self._http: Any = None
        self.metadata = KnownMetadata(engine)
        self._readers: dict[str, Callable[[], Any]] = {}
        self.protos: dict[str, str | None] = {}  # contents by id, until the tables change
        settings = engine.settings
        self.settings: Mapping[str, Any] = {
            "version": settings.version,
            "server_name": settings.server_name,
            "https_port": None,
            "trusted_addresses": tuple(settings.trusted_addresses or ()),
            "hostname": socket.gethostname(),
            "worker_id": engine.worker_id,
        }

    def make(self, plugin: str, holder: str) -> PluginHost:
        return PluginHost(self, plugin, holder)

    def metadata_reader(self, plugin: str) -> Callable[[], Any]:
        """Host.metadata of all the plugin's instances. Some ask at every request, so it is no Python function."""
        reader = self._readers.get(plugin)
        if reader is None:
            reader = self._readers[plugin] = partial(getitem, self.metadata, plugin)
        return reader

    @property
    def http(self) -> Any:
        if self._http is None:
            from bascule.engine.http_client import AiohttpClient

            self._http = AiohttpClient()
        return self._http

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> None:
        task = self.engine.loop.create_task(coro, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logging.getLogger("bascule.engine").error("task %s failed", task.get_name(), exc_info=task.exception())

    async def close(self, timeout_s: float = 5.0) -> None:
        """Awaits the background tasks, then ends what is left."""
        pending = set(self.tasks)
        if pending:
            await asyncio.wait(pending, timeout=timeout_s)
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(set(self.tasks), timeout=1)
        if self._http is not None:
            await self._http.close()


class PluginHost:
    """plugin/host.py's Host for one plugin instance."""

    def __init__(self, hosts: Hosts, plugin: str, holder: str) -> None:
        self._hosts = hosts
        self._plugin = plugin
        self.holder = holder
        self.log = logging.getLogger(f"bascule.plugin.{plugin}")
        self.attr: Mapping[str, Any] = hosts.plugin_attr.get(plugin) or {}
        self.settings = hosts.settings
        self.random = hosts.random
        self.counters = hosts.engine.counters_table
        self.in_flight = hosts.engine.in_flight
        self.metrics = hosts.engine.metrics
        self.metadata = hosts.metadata_reader(plugin)
        self.now = time.time
        self.monotonic = time.monotonic
        self.parts: Any = None  # snapshot/plugin_parts.py's, while the plugin is built

    @property
    def http(self) -> Any:
        return self._hosts.http

    def upstream(self, conf: Any, at: Place) -> UpstreamHandle:
        return building(self.parts).upstream(conf, at)

    def plugin(self, name: str, conf: Mapping[str, Any], at: Place) -> Any:
        return building(self.parts).plugin(name, conf, at)

    def proto(self, id: str) -> str | None:
        known = self._hosts.protos
        try:
            return known[id]
        except KeyError:
            content: str | None = self._hosts.engine.tables.proto(id)
            known[id] = content
            return content

    def state(self, key: str, factory: Callable[[], T]) -> T:
        kept = self._hosts.kept
        full = (self._plugin, key)
        if full not in kept:
            kept[full] = factory()
        value: T = kept[full]
        return value

    def mirror(
        self,
        scheme: str,
        host: str,
        port: int,
        *,
        timeouts_s: tuple[float, float, float],
        most: int,
        body_limit: int,
        told: Callable[[str, str | None], None],
    ) -> Any:
        upstream = CompiledUpstream(
            key=f"{self.holder}#{self._plugin}",
            id=None,
            nodes=(Node(host, port, 1),),
            scheme=scheme,
            retries=0,
            timeout=Timeout(*timeouts_s),
            tls=ClientTls() if scheme in SECURE else None,
        )
        return self._hosts.engine.mirror(upstream, told, most, body_limit)

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> None:
        self._hosts.spawn(coro, name)

    def call_later(self, seconds: float, fn: Callable[..., Any], *args: Any) -> _Later:
        return _Later(self._hosts.engine.loop, seconds, fn, args)

    def sleep(self, seconds: float) -> Awaitable[None]:
        return asyncio.sleep(seconds)


class _Later:
    """A timer that may be set from a hook: the loop, inside the engine's turn, only sees what call_soon gives it."""

    __slots__ = ("_cancelled", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, fn: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._cancelled = False

        def arm() -> None:
            if not self._cancelled:
                self._timer = loop.call_later(seconds, fn, *args)

        loop.call_soon(arm)

    def cancel(self) -> None:
        self._cancelled = True
        if self._timer is not None:
            self._timer.cancel()
