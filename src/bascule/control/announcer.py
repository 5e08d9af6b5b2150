"""What workers are told, one thing after the other: each has a generation, and workers say which they serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bascule.control.configuration import Configuration
from bascule.control.fleet import Fleet
from bascule.control.progress import Progress
from bascule.control.worker_slot import WorkerSlot
from bascule.model.change import Change


class Announcer:
    """`configuration` holds every resource, as workers are told; `workers`: how many there are to be."""

    def __init__(self, fleet: Fleet, workers: Callable[[], int]) -> None:
        self.configuration = Configuration()
        self._fleet = fleet
        self._workers = workers
        self._progress = Progress()  # by revision of the store
        self._told = Progress()  # by generation, whatever it brought

    @property
    def generation(self) -> int:
        return self.configuration.generation

    def changes(self, changes: Sequence[Change]) -> None:
        """Resources have changed; the store's revision is as it was."""
        packed = self.configuration.take(changes)
        self._fleet.send("changes", self.generation, packed)

    def reached(self, revision: int) -> None:
        """With what was told so far, workers are at this revision of the store."""
        self._progress.take(self.generation, revision)
        self.advance()

    def tell(self, kind: str, *what: Any) -> None:
        """Anything else that changes how requests are served; workers that start later hear of it by their Boot."""
        if self._fleet.slots:
            self.next_generation()
            self._fleet.send(kind, self.generation, *what)

    def next_generation(self) -> None:
        """Workers that start from now on are of a new one."""
        self.configuration.generation += 1

    def catch_up(self, slot: WorkerSlot) -> None:
        """The worker was told at its start; what has changed since then it gets whole."""
        for step in self.configuration.steps():
            slot.send("changes", self.generation, step)

    def advance(self) -> None:
        """Worth a look after a step, and after any worker said how far it is, or ended."""
        generation = self._fleet.least_generation() if self._workers() else self.generation
        if generation is not None:
            self._progress.reach(generation)
            self._told.reach(generation)

    async def applied(self, revision: int) -> None:
        """Until every worker serves this revision of the store."""
        await self._progress.wait(revision)

    async def all_told(self) -> None:
        """Until every worker knows what they were told so far."""
        generation = self.generation
        self._told.take(generation, generation)
        self.advance()
        await self._told.wait(generation)

    def __repr__(self) -> str:
        return f"<announcer at {self.generation}: {self.configuration!r}>"
