import asyncio
from collections import Counter

import pytest

from bascule.control.health.names import Names
from bascule.net.dns import NoAddress


class Server:
    """A name server that is asked in this process."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = answers
        self.asked: Counter[str] = Counter()
        self.valid_s = 60.0
        self.gate: asyncio.Event | None = None

    async def resolve(self, name: str) -> tuple[list[str], float]:
        self.asked[name] += 1
        if self.gate is not None:
            await self.gate.wait()
        if name == "broken":
            raise RuntimeError("oh")
        if name not in self.answers:
            raise NoAddress("no such name")
        return self.answers[name], self.valid_s


def test_one_question_for_all_who_ask() -> None:
    async def run() -> None:
        server = Server(a=["1.1.1.1", "2.2.2.2", "::1"])
        server.gate = asyncio.Event()
        names = Names(server.resolve)
        asking = [asyncio.create_task(names.addresses("a")) for _ in range(20)]
        await asyncio.sleep(0)
        server.gate.set()
        answers = await asyncio.gather(*asking)
        assert server.asked["a"] == 1
        # Each IPv4 address is first in its turn; IPv6 comes behind.
        assert {tuple(answer) for answer in answers} == {
            ("1.1.1.1", "2.2.2.2", "::1"),
            ("2.2.2.2", "1.1.1.1", "::1"),
        }
        assert names.known("a") == "1.1.1.1"
        assert names.known("b") is None
        assert repr(names) == "<names 1>"

    asyncio.run(run())


def test_old_addresses_are_used_while_new_ones_are_asked_for() -> None:
    async def run() -> None:
        server = Server(a=["1.1.1.1"])
        server.valid_s = 0.0
        names = Names(server.resolve)
        assert await names.addresses("a") == ["1.1.1.1"]
        server.answers["a"] = ["2.2.2.2"]
        assert await names.addresses("a") == ["1.1.1.1"]
        await asyncio.sleep(0)
        assert await names.addresses("a") == ["2.2.2.2"]
        await asyncio.sleep(0)
        del server.answers["a"]
        asked = server.asked["a"]
        assert await names.addresses("a") == ["2.2.2.2"]
        await asyncio.sleep(0)
        assert server.asked["a"] == asked + 1  # it has no address any more
        assert await names.addresses("a") == ["2.2.2.2"]
        await names.close()

    asyncio.run(run())


def test_a_name_without_an_address() -> None:
    async def run() -> None:
        server = Server()
        names = Names(server.resolve)
        for _ in range(3):
            with pytest.raises(NoAddress, match="no such name"):
                await names.addresses("a")
        assert server.asked["a"] == 1  # not again at once
        with pytest.raises(NoAddress, match="internal error: RuntimeError"):
            await names.addresses("broken")

    asyncio.run(run())


def test_who_gives_up_waiting_ends_nobody_elses_question() -> None:
    async def run() -> None:
        server = Server(a=["1.1.1.1"])
        server.gate = asyncio.Event()
        names = Names(server.resolve)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await names.addresses("a")
        server.gate.set()
        assert await names.addresses("a") == ["1.1.1.1"]
        assert server.asked["a"] == 1
        server.gate = asyncio.Event()
        asking = asyncio.create_task(names.addresses("b"))
        await asyncio.sleep(0)
        await names.close()
        await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(run())
