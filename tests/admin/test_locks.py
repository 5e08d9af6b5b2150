import asyncio

import pytest

from bascule.admin.locks import Gate, NamedLocks


def test_a_name_is_held_by_one_and_forgotten_afterwards() -> None:
    async def scene() -> None:
        locks = NamedLocks()
        told: list[str] = []
        held = asyncio.Event()

        async def first() -> None:
            async with locks.hold(["b", "a"]):
                held.set()
                await asyncio.sleep(0)
                told.append("first")

        async def second() -> None:
            await held.wait()
            async with locks.hold(["a", "b", "a"]):
                told.append("second")

        async def other() -> None:
            await held.wait()
            async with locks.hold(["c"]):
                told.append("other")

        await asyncio.gather(second(), first(), other())
        assert told.index("first") < told.index("second")
        assert told.index("other") < told.index("second")
        assert len(locks) == 0

    asyncio.run(asyncio.wait_for(scene(), 10))


def test_names_held_in_any_order_don_t_block_each_other() -> None:
    async def scene() -> None:
        locks = NamedLocks()

        async def hold(names: list[str]) -> None:
            async with locks.hold(names):
                await asyncio.sleep(0)

        await asyncio.gather(*(hold(["a", "b"] if n % 2 else ["b", "a"]) for n in range(100)))

    asyncio.run(asyncio.wait_for(scene(), 10))


def test_who_is_alone_waits_for_those_inside_and_the_others_for_him() -> None:
    async def scene() -> None:
        gate = Gate()
        told: list[str] = []
        inside, leave = asyncio.Event(), asyncio.Event()

        async def shared(name: str) -> None:
            async with gate.shared():
                told.append(name)
                inside.set()
                await leave.wait()

        async def alone() -> None:
            async with gate.alone(), gate.shared():  # once more, by the same task
                told.append("alone")

        early = asyncio.create_task(shared("early"))
        await inside.wait()
        lone = asyncio.create_task(alone())
        await asyncio.sleep(0)
        late = asyncio.create_task(shared("late"))
        await asyncio.sleep(0)
        assert told == ["early"]
        leave.set()
        await asyncio.gather(early, lone, late)
        assert told == ["early", "alone", "late"]

    asyncio.run(asyncio.wait_for(scene(), 10))


def test_a_gate_opens_again_whatever_happens_to_who_was_alone() -> None:
    async def scene() -> None:
        gate = Gate()
        with pytest.raises(RuntimeError):
            async with gate.alone():
                raise RuntimeError
        async with gate.shared():
            waiting = asyncio.create_task(gate.alone().__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with gate.shared(), gate.shared():
            pass

    asyncio.run(asyncio.wait_for(scene(), 10))
