import asyncio
from types import SimpleNamespace
from typing import Any

from bascule.control import collector
from bascule.control.collector import Collector
from bascule.observe.metrics import Metrics


class Slot:
    """A worker that answers when told to."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ready = asyncio.Event()
        self.ready.set()
        self.stats: dict[str, Any] = {}
        self.asked: list[Any] = []

    def send(self, *message: Any) -> None:
        self.asked.append(message)


def grown(value: int) -> Any:
    metrics = Metrics()
    metrics.counter("x", "help").inc(value)
    return metrics.delta()


def test_it_waits_for_those_that_answer_and_not_for_the_dead(monkeypatch: Any) -> None:
    async def scene() -> None:
        one, two = Slot(1), Slot(2)
        fleet: Any = SimpleNamespace(slots=[one, two])
        made = Collector(fleet)
        waiting = asyncio.ensure_future(made.refresh())
        await asyncio.sleep(0)
        assert one.asked == two.asked == [("collect", 1)]
        made.take(one, grown(2), {"requests": 7})  # type: ignore[arg-type]
        made.forget(two)  # type: ignore[arg-type]
        await asyncio.wait_for(waiting, 1)
        assert one.stats == {"requests": 7}
        assert b"x 2" in made.metrics.render() or b"x_total 2" in made.metrics.render()
        monkeypatch.setattr(collector, "TIMEOUT_S", 0.01)
        await asyncio.wait_for(made.refresh(), 1)  # nobody answers: what is known counts

    asyncio.run(scene())
