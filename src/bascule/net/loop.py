"""An asyncio event loop whose selector is the epoll engine: asyncio code runs unchanged, the hot path never enters
asyncio.
"""

import asyncio
import contextlib
import selectors
from typing import Any

from bascule.net.poller import Poller

_IN, _OUT = 1, 4  # EPOLLIN, EPOLLOUT
_ADD, _DELETE, _MODIFY = 1, 2, 3  # EPOLL_CTL_*


def _epoll_events(events: int) -> int:
    return (_IN if events & selectors.EVENT_READ else 0) | (_OUT if events & selectors.EVENT_WRITE else 0)


class EngineSelector(selectors._BaseSelectorImpl):
    """The selector that asyncio sees; its select() is the engine's loop."""

    def __init__(self, poller: Poller) -> None:
        super().__init__()
        self._poller = poller
        self._ready: Any = ()

    def attach(self, loop: asyncio.SelectorEventLoop) -> None:
        """Callbacks that engine code schedules on `loop` bring select() back at once."""
        self._ready = loop._ready  # type: ignore[attr-defined]

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        self._poller.watch_foreign(key.fd, _epoll_events(events), _ADD)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        with contextlib.suppress(OSError):  # already closed, which took it out of epoll
            self._poller.watch_foreign(key.fd, 0, _DELETE)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self.get_key(fileobj)
        if events != key.events:
            self._poller.watch_foreign(key.fd, _epoll_events(events), _MODIFY)
        key = key._replace(events=events, data=data)
        self._fd_to_key[key.fd] = key  # type: ignore[attr-defined]
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = []
        for fd, events in self._poller.select(timeout, self._ready):
            key = self._fd_to_key.get(fd)  # type: ignore[attr-defined]
            if key is not None:
                mask = (selectors.EVENT_READ if events & ~_OUT else 0) | (selectors.EVENT_WRITE if events & ~_IN else 0)
                found.append((key, mask & key.events))
        return found


def new_loop() -> tuple[asyncio.AbstractEventLoop, Poller]:
    """A fresh event loop with the engine as its selector, and that engine's poller."""
    poller = Poller()
    selector = EngineSelector(poller)
    loop = asyncio.SelectorEventLoop(selector)
    selector.attach(loop)
    return loop, poller
