import asyncio
from types import SimpleNamespace
from typing import Any

from bascule.control import questions
from bascule.control.questions import Questions


def slot(asked: list[Any], ready: bool = True) -> Any:
    event = asyncio.Event()
    if ready:
        event.set()
    return SimpleNamespace(worker_id=0, ready=event, send=lambda *message: asked.append(message))


def test_a_worker_that_serves_is_asked_and_its_answer_told() -> None:
    async def scene() -> None:
        asked: list[Any] = []
        fleet: Any = SimpleNamespace(slots=[slot([], ready=False), slot(asked)])
        made = Questions(fleet)
        first, second = (asyncio.ensure_future(made.explain({"url": url})) for url in ("/a", "/b"))
        await asyncio.sleep(0)
        assert [message[2]["url"] for message in asked] == ["/a", "/b"]
        made.answer(asked[1][1], {"told": "b"})
        made.answer(asked[0][1], {"told": "a"})
        made.answer(99, {})  # nobody waits
        assert (await first, await second) == ({"told": "a"}, {"told": "b"})

    asyncio.run(scene())


def test_nobody_to_ask_and_nobody_who_answers(monkeypatch: Any) -> None:
    monkeypatch.setattr(questions, "TIMEOUT_S", 0.01)

    async def scene() -> None:
        nobody: Any = SimpleNamespace(slots=[])
        assert await Questions(nobody).explain({}) == {"error_msg": "no worker serves at present"}
        silent: Any = SimpleNamespace(slots=[slot([])])
        assert "gave no answer" in (await Questions(silent).explain({}))["error_msg"]

    asyncio.run(scene())
