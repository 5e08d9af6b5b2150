"""What a plugin gets while its configuration is only checked: facts, and nothing that acts."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

from bascule.observe.metrics import Metrics
from bascule.plugin.upstream import Place, UpstreamHandle
from bascule.snapshot.plugin_parts import building

T = TypeVar("T")


# One for all hosts: a generator alone is 2.5 KB, and there may be a host for each of 100,000 routes.
_RANDOM = random.Random(0)
_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {"version": "", "server_name": "Bascule", "https_port": None, "hostname": "", "trusted_addresses": ()}
)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("nothing runs while the configuration is checked")


class _Idle:
    """Counters and a client that a constructor may take methods of, and that can't be used."""

    incr = get = add = take = request = copy = staticmethod(_refuse)

    def window(self, prefix: str, window_s: float) -> _Idle:
        return self


_IDLE = _Idle()


class CheckingHost:
    """See `bascule.plugin.host.Host`."""

    def __init__(self, plugin: str, holder: str, attr: Mapping[str, Any], metrics: Metrics) -> None:
        self.log = logging.getLogger(f"bascule.plugin.{plugin}")
        self.holder = holder
        self.attr = attr
        self.settings = _SETTINGS
        self.random = _RANDOM
        self.metrics = metrics
        self.counters: Any = _IDLE
        self.in_flight: Any = _IDLE
        self.http: Any = _IDLE
        self.now = time.time
        self.monotonic = time.monotonic
        self.parts: Any = None  # plugin_parts.py's, while the plugin is built

    def metadata(self) -> Any:
        return None

    def upstream(self, conf: Any, at: Place) -> UpstreamHandle:
        return building(self.parts).upstream(conf, at)

    def plugin(self, name: str, conf: Mapping[str, Any], at: Place) -> Any:
        return building(self.parts).plugin(name, conf, at)

    def proto(self, id: str) -> str | None:
        return None

    def state(self, key: str, factory: Callable[[], T]) -> T:
        return factory()

    def mirror(self, *_: Any, **__: Any) -> Any:
        return _IDLE

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> None:
        coro.close()

    def call_later(self, seconds: float, fn: Callable[..., Any], *args: Any) -> Any:
        return _Never()

    async def sleep(self, seconds: float) -> None:
        _refuse()


class _Never:
    def cancel(self) -> None:
        """There is nothing to cancel."""
