"""All workers of the gateway: started, told, asked, replaced one by one, stopped. Sockets are the caller's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from bascule.control.boot import Boot
from bascule.control.worker_slot import WorkerSlot

log = logging.getLogger("bascule.supervisor")

SILENT_S = 10.0
# Counts that only grow: those of a process that ended are kept.
GROWING = (
    "accepted",
    "requests",
    "retries",
    "upstream_failures",
    "refused_heads",
    "refused_proxies",
    "turned_away",
    "tls_handshakes",
    "tls_resumptions",
    "http2_streams",
)


class StartFailed(Exception):
    """The gateway can't start."""


class Fleet:
    def __init__(
        self,
        make_boot: Callable[[int], Boot],
        fds: Callable[[int], tuple[int, ...]],
        on_message: Callable[[WorkerSlot, tuple[Any, ...]], None],
        on_end: Callable[[WorkerSlot], None],
    ) -> None:
        self.slots: list[WorkerSlot] = []
        self.restarts = 0
        self._make_boot = make_boot
        self._fds = fds
        self._on_message = on_message
        self._on_end = on_end
        self._tasks: dict[WorkerSlot, asyncio.Task[None]] = {}
        self._before = dict.fromkeys(GROWING, 0)
        self._silent: set[WorkerSlot] = set()

    def __repr__(self) -> str:
        return f"<fleet of {self.slots}>"

    # ---- life

    async def launch(self, workers: int) -> None:
        """Their processes have begun."""
        self.slots = [self._launch(worker_id) for worker_id in range(workers)]
        await asyncio.sleep(0)

    async def start(self, stop: asyncio.Event) -> None:
        """Until every worker that was launched serves, or `stop` is set. Raises StartFailed."""
        stopped = asyncio.ensure_future(stop.wait())
        try:
            for slot in self.slots:
                await self._until_ready(slot, stopped)
        finally:
            stopped.cancel()

    async def replace(self, workers: int, drain_s: float, leaving: Callable[[int], None]) -> None:
        """A new process in each place; the old one drains once the new one serves, and `leaving` is told its id before.
        Raises StartFailed: then those that were not replaced yet go on."""
        for worker_id in range(workers):
            fresh = self._launch(worker_id)
            try:
                await self._until_ready(fresh, None)
            except StartFailed:
                fresh.kill()
                raise
            if worker_id < len(self.slots):
                leaving(worker_id)
                self.slots[worker_id].drain(drain_s)
                self.slots[worker_id] = fresh
            else:
                self.slots.append(fresh)
        for old in self.slots[workers:]:
            leaving(old.worker_id)
            old.drain(drain_s)
        del self.slots[workers:]

    async def stop(self, limit_s: float, at_once: asyncio.Event) -> None:
        """Drains all; those that are not done after `limit_s`, or when `at_once` is set, are killed."""
        for slot in list(self._tasks):
            slot.drain(limit_s)
        if self._tasks:
            impatient = asyncio.ensure_future(at_once.wait())
            everyone = asyncio.ensure_future(asyncio.wait(list(self._tasks.values())))
            await asyncio.wait({impatient, everyone}, timeout=limit_s + 2, return_when=asyncio.FIRST_COMPLETED)
            impatient.cancel()
            everyone.cancel()
        await self.kill()

    async def kill(self) -> None:
        for slot in list(self._tasks):
            slot.kill()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=5)

    def _launch(self, worker_id: int) -> WorkerSlot:
        slot = WorkerSlot(worker_id, self._make_boot, self._fds, self._on_message, self._ended)
        task = asyncio.get_running_loop().create_task(slot.run(), name=f"worker {worker_id}")
        self._tasks[slot] = task
        task.add_done_callback(lambda _: self._tasks.pop(slot, None))
        return slot

    async def _until_ready(self, slot: WorkerSlot, stopped: asyncio.Future[Any] | None) -> None:
        ready = asyncio.ensure_future(slot.ready.wait())
        task = self._tasks[slot]
        try:
            while not ready.done() and not (stopped and stopped.done()):
                waits: set[asyncio.Future[Any]] = {ready, task} if stopped is None else {ready, task, stopped}
                await asyncio.wait(waits, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                if not ready.done() and (slot.restarts >= 3 or task.done()):
                    text = f"worker {slot.worker_id} ends as soon as it starts ({slot.last_exit}); see the log above"
                    raise StartFailed(text)
        finally:
            ready.cancel()

    def _ended(self, slot: WorkerSlot) -> None:
        for name in GROWING:
            self._before[name] += slot.stats.get(name, 0)
        slot.stats = {}
        if slot in self.slots:
            self.restarts += 1
        self._on_end(slot)

    # ---- talk

    def send(self, *message: Any) -> None:
        for slot in self._tasks:
            slot.send(*message)

    def least_generation(self) -> int | None:
        """What every worker that accepts connections, or is about to, has applied; None: there is none."""
        return min((slot.generation for slot in self._tasks if slot.serving), default=None)

    def not_ready(self) -> WorkerSlot | None:
        return next((slot for slot in self.slots if not slot.ready.is_set()), None)

    def warn_of_silence(self) -> None:
        """Workers answer each second; one that doesn't is busy with something that it shouldn't be."""
        for slot in self.slots:
            silent = slot.ready.is_set() and time.monotonic() - slot.heard_at > SILENT_S
            if silent and slot not in self._silent:
                log.warning("worker %d (pid %s) has not answered for %.0f s", slot.worker_id, slot.pid, SILENT_S)
                self._silent.add(slot)
            elif not silent:
                self._silent.discard(slot)

    def total(self, name: str) -> int:
        """A figure of all workers together; with those that are gone, if it is one that only grows."""
        return sum(int(slot.stats.get(name, 0)) for slot in self._tasks) + self._before.get(name, 0)
