"""Questions to workers that wait for an answer."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from bascule.control.fleet import Fleet

TIMEOUT_S = 5.0


class Questions:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def explain(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What a worker would do with a request (snapshot/explanation.py); `error_msg` alone: why that isn't told."""
        slot = next((slot for slot in self._fleet.slots if slot.ready.is_set()), None)
        if slot is None:
            return {"error_msg": "no worker serves at present"}
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        slot.send("explain", number, asked)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                told: dict[str, Any] = await answer
        except TimeoutError:
            return {"error_msg": f"worker {slot.worker_id} gave no answer within {TIMEOUT_S:.0f} s"}
        finally:
            self._waiting.pop(number, None)
        return told

    def answer(self, number: int, told: dict[str, Any]) -> None:
        """A worker answered; nobody may be waiting any more."""
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(told)
