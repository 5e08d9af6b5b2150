"""An engine within this process, for tests that look inside: what it serves is asked for over real connections."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from bascule.engine.server import Engine
from bascule.engine.shared_counters import SharedCounters
from bascule.model.change import Change
from bascule.model.engine_settings import EngineSettings
from bascule.net.dns import Resolver
from bascule.net.loop import new_loop
from bascule.observe.metrics import Metrics
from bascule.plugin.registry import Registry
from bascule.snapshot.tables import Tables
from tests.servers.raw import Message, RawClient

T = TypeVar("T")


class InProcess:
    """`engine` serves on `port` while one of the methods below runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, poller: Any, settings: EngineSettings) -> None:
        self._loop = loop
        self.engine: Any = Engine(
            poller=poller,
            loop=loop,
            settings=settings,
            counters=SharedCounters.create(1 << 16),
            metrics=Metrics(),
        )
        self.engine.resolver = self._resolver = Resolver(loop, ())
        self.tables = Tables(Registry(), self.engine.make_host)
        self.engine.use_tables(self.tables)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self.engine.listen(listener.detach(), port=self.port)

    def write(self, kind: str, id: str, value: dict[str, Any] | None) -> None:
        """Changes one resource."""
        assert not self.tables.apply([Change(kind, id, value)]).errors
        self.engine.tables_changed()

    def call(self, work: Callable[[], T]) -> T:
        """Runs `work`, which may block, in a thread, while the engine serves."""
        return self._loop.run_until_complete(asyncio.wait_for(asyncio.to_thread(work), 30))

    def get(self, target: str, count: int = 1, headers: tuple[tuple[str, str], ...] = ()) -> list[Message]:
        """The answers to so many requests on one connection."""

        def ask() -> list[Message]:
            with RawClient(self.port) as client:
                return [client.request("GET", target, headers) for _ in range(count)]

        return self.call(ask)

    def bodies(self, target: str, count: int) -> list[str]:
        return [message.body.decode() for message in self.get(target, count)]

    def close(self) -> None:
        self._loop.run_until_complete(self.engine.drain(1))
        self._loop.run_until_complete(self._resolver.close())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())


@contextmanager
def engine_in_process(settings: EngineSettings | None = None) -> Iterator[InProcess]:
    loop, poller = new_loop()
    one = InProcess(loop, poller, settings or EngineSettings())
    try:
        yield one
    finally:
        one.close()
        loop.close()
