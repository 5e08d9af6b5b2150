"""The workers' figures, gathered in the supervisor."""

from __future__ import annotations

import asyncio
from typing import Any

from bascule.control.fleet import Fleet
from bascule.control.worker_slot import WorkerSlot
from bascule.observe.metrics import Metrics

EVERY_S = 1.0
TIMEOUT_S = 2.0


class Collector:
    """`metrics`: of all workers together, as of what they told last."""

    def __init__(self, fleet: Fleet) -> None:
        self.metrics = Metrics()
        self._fleet = fleet
        self._asked: dict[WorkerSlot, asyncio.Event] = {}

    async def run(self) -> None:
        """Asks all the time, so that little is lost when a worker dies."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._fleet.send("collect", 0)
            self._fleet.warn_of_silence()

    async def refresh(self) -> None:
        """Until every worker that serves has told its latest, TIMEOUT_S at most."""
        waits = []
        for slot in self._fleet.slots:
            if slot.ready.is_set():
                event = self._asked[slot] = asyncio.Event()
                slot.send("collect", 1)
                waits.append(asyncio.create_task(event.wait()))
        if waits:
            _, late = await asyncio.wait(waits, timeout=TIMEOUT_S)
            for task in late:
                task.cancel()
        self._asked.clear()

    def take(self, slot: WorkerSlot, delta: Any, stats: dict[str, Any]) -> None:
        """What a worker told: what its metrics have grown by, and its engine's figures."""
        self.metrics.merge(delta, str(slot.pid))
        slot.stats = stats
        self._wake(slot)

    def forget(self, slot: WorkerSlot) -> None:
        """The worker's process has ended."""
        self.metrics.forget(str(slot.pid))
        self._wake(slot)

    def _wake(self, slot: WorkerSlot) -> None:
        waiting = self._asked.get(slot)
        if waiting is not None:
            waiting.set()
