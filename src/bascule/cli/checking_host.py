"""What a plugin gets while its configuration is only checked: facts, and nothing that acts."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from bascule.observe.metrics import Metrics

T = TypeVar("T")


class CheckingHost:
    def __init__(self, plugin: str, holder: str, attr: Mapping[str, Any]) -> None:
        self.log = logging.getLogger(f"bascule.plugin.{plugin}")
        self.holder = holder
        self.attr = attr
        self.settings: Mapping[str, Any] = {"version": "", "server_name": "Bascule", "https_port": None, "hostname": ""}
        self.random = random.Random(0)
        self.metrics = Metrics()
        self.counters: Any = None
        self.http: Any = None
        self.now = time.time
        self.monotonic = time.monotonic

    def metadata(self) -> Any:
        return None

    def state(self, key: str, factory: Callable[[], T]) -> T:
        return factory()

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> None:
        coro.close()

    def call_later(self, seconds: float, fn: Callable[..., Any], *args: Any) -> Any:
        return _Never()

    async def sleep(self, seconds: float) -> None:
        raise RuntimeError("nothing runs while the configuration is checked")


class _Never:
    def cancel(self) -> None:
        """There is nothing to cancel."""
