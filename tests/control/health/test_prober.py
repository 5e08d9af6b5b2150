import asyncio
import math
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from bascule.balance.node_health import Outcome
from bascule.control.health.names import Names
from bascule.control.health.probe import Probe
from bascule.control.health.prober import AT_ONCE, FIRST_PER_S, SLOW_AT_ONCE, Prober
from bascule.control.health.questioner import Questioner, Result
from bascule.control.health.tls_contexts import TlsContexts
from bascule.snapshot.references import from_environment
from tests.control.health.asked import eventually, probe, resolve
from tests.control.health.virtual_time import play_virtually

GOOD, LATE = Result(Outcome.SUCCESS, "success"), Result(Outcome.TIMEOUT, "timeout")


class Watching:
    """Who wants to know of some probes."""

    def __init__(self, interval_s: float = 1.0, places: int = 10**6) -> None:
        self.interval_s = interval_s
        self.places = asyncio.Semaphore(places)
        self.slow_places = asyncio.Semaphore(max(1, places // 2))
        self.results: list[Result] = []
        self.more = asyncio.Event()

    def probed(self, result: Result) -> None:
        self.results.append(result)
        self.more.set()

    async def until(self, count: int) -> None:
        while len(self.results) < count:
            self.more.clear()
            await self.more.wait()


class Asking:
    """Answers every probe at once, or when `gate` opens; counts those that are under way."""

    def __init__(self, result: Result = GOOD, *, gated: bool = False) -> None:
        self.result = result
        self.asked: Counter[Probe] = Counter()
        self.under_way = self.most = 0
        self.gate = asyncio.Event()
        if not gated:
            self.gate.set()

    async def ask(self, asked: Probe) -> Result:
        self.asked[asked] += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        return self.result


def play(script: Callable[[Prober], Awaitable[None]], ask: Callable[[Probe], Awaitable[Result]]) -> None:
    async def run() -> None:
        prober = Prober(ask, random.Random(1))
        try:
            await asyncio.wait_for(script(prober), 40)
        finally:
            await prober.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def nodes(count: int) -> list[Probe]:
    return [probe(f"127.0.{number // 250}.{number % 250}:80") for number in range(count)]


def test_again_and_again_until_forgotten() -> None:
    asking = Asking()

    async def script(prober: Prober) -> None:
        watching, other = Watching(0.01), Watching(0.01)
        [asked] = nodes(1)
        prober.watch(asked, watching)
        prober.watch(asked, other)
        await watching.until(5)
        assert len(other.results) == len(watching.results) == sum(asking.asked.values())  # asked once for both
        prober.forget(asked, watching)
        heard = len(watching.results)
        await other.until(len(other.results) + 3)
        assert len(watching.results) == heard
        prober.forget(asked, other)
        prober.forget(asked, other)
        assert repr(prober) == "<prober of 0>"

    play(script, asking.ask)


def test_a_watcher_that_fails_ends_no_probes(caplog: pytest.LogCaptureFixture) -> None:
    asking = Asking()

    class Failing(Watching):
        def probed(self, result: Result) -> None:
            super().probed(result)
            raise LookupError("no such thing")

    async def script(prober: Prober) -> None:
        failing, other = Failing(0.01), Watching(0.01)
        [asked] = nodes(1)
        prober.watch(asked, failing)
        prober.watch(asked, other)
        await other.until(3)
        assert len(failing.results) >= 3

    play(script, asking.ask)
    assert "internal error after a probe of 127.0.0.0:80" in caplog.text


def test_an_upstream_has_its_own_bound() -> None:
    asking = Asking(gated=True)

    async def script(prober: Prober) -> None:
        watching = Watching(0.01, places=3)
        for asked in nodes(20):
            prober.watch(asked, watching)
        await eventually(lambda: asking.most == 3)
        await asyncio.sleep(0.05)
        assert (asking.most, len(asking.asked)) == (3, 3)
        asking.gate.set()
        await watching.until(20)
        assert asking.most == 3

    play(script, asking.ask)


def test_slow_nodes_leave_room_for_quick_ones_of_their_upstream() -> None:
    async def script() -> None:
        asked: Counter[int] = Counter()

        async def ask(probe: Probe) -> Result:
            asked[probe.port] += 1
            await asyncio.sleep(1 if probe.port == 81 else 0.01)
            return LATE if probe.port == 81 else GOOD

        prober = Prober(ask, random.Random(1))
        watching = Watching(1.0, places=10)
        for number in range(60):
            prober.watch(probe(f"127.0.0.{number}:{81 if number < 40 else 80}"), watching)
        await asyncio.sleep(100)
        await prober.close()
        assert asked[80] >= 20 * 90  # as if there were no others: 40 seconds of waiting in each round
        assert asked[81] >= 5 * 90

    play_virtually(script)


def test_slow_nodes_leave_room_for_quick_ones() -> None:
    slow = Asking(LATE)
    quick = Asking()

    async def ask(asked: Probe) -> Result:
        return await (slow if asked.port == 81 else quick).ask(asked)

    async def script(prober: Prober) -> None:
        watching, other = Watching(0.05), Watching(0.05)
        for number in range(300):
            prober.watch(probe(f"127.0.{number // 250}.{number % 250}:81"), watching)
        await eventually(lambda: len(slow.asked) == 300 and not slow.under_way)
        slow.gate.clear()
        await eventually(lambda: slow.under_way == SLOW_AT_ONCE)
        for asked in nodes(50):
            prober.watch(asked, other)
        await other.until(100)
        assert slow.under_way == SLOW_AT_ONCE

    play(script, ask)


def test_hurry() -> None:
    asking = Asking()

    async def script(prober: Prober) -> None:
        watching = Watching(3600)
        [asked] = nodes(1)
        prober.watch(asked, watching)
        await watching.until(1)
        await asyncio.sleep(0)
        prober.hurry(asked, 0.01)
        await watching.until(2)
        await asyncio.sleep(0)
        prober.hurry(asked, 7200)  # it comes sooner anyway
        prober.hurry(probe("127.9.9.9:1"), 0)  # nobody asks that
        assert asking.asked == {asked: 2}

    play(script, asking.ask)


def test_the_end_ends_what_is_under_way() -> None:
    asking = Asking(gated=True)

    async def script(prober: Prober) -> None:
        watching = Watching()
        for asked in nodes(5):
            prober.watch(asked, watching)
        await eventually(lambda: asking.under_way == 5)
        prober.forget(nodes(1)[0], watching)
        await eventually(lambda: asking.under_way == 4)

    play(script, asking.ask)
    assert asking.under_way == 0


class Schedule:
    """When probes are asked, in virtual time; every one is answered after a moment."""

    def __init__(self, seed: int = 1) -> None:
        self.asked: dict[Probe, list[float]] = {}
        self.prober = Prober(self._ask, random.Random(seed))
        self.began = asyncio.get_running_loop().time()

    async def _ask(self, asked: Probe) -> Result:
        self.asked.setdefault(asked, []).append(asyncio.get_running_loop().time() - self.began)
        await asyncio.sleep(0.02)
        return GOOD

    def most_within(self, seconds: float, until_s: float = math.inf) -> int:
        """Of all that was asked, in the busiest such time."""
        moments = sorted(moment for each in self.asked.values() for moment in each if moment < until_s)
        first = most = 0
        for last, moment in enumerate(moments):
            while moments[first] <= moment - seconds:
                first += 1
            most = max(most, last + 1 - first)
        return most


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("count", "interval_s"), [(2000, 4.0), (5000, 1.0), (2000, 60.0), (300, 1.0), (40, 1.0)])
def test_thousands_of_nodes_are_asked_evenly(count: int, interval_s: float, seed: int) -> None:
    """First probes: in no eighth of an interval, wherever it begins, more than an eighth of the nodes, or what first
    probes may be. Later ones are moved by a tenth, and where the first ones end some are early: a quarter more."""

    async def script() -> None:
        schedule = Schedule(seed)
        watching = Watching(interval_s)
        for asked in nodes(count):
            schedule.prober.watch(asked, watching)
        await asyncio.sleep(10 * interval_s)
        await schedule.prober.close()
        eighth_s = interval_s / 8
        pace = eighth_s * FIRST_PER_S * 1.02 + 2
        assert schedule.most_within(eighth_s) <= max(count / 8 * 1.25 + 4, pace)
        assert schedule.most_within(eighth_s, until_s=interval_s * 0.85) <= max(count / 8 * 1.01 + 2, pace)
        assert schedule.most_within(0.1) <= max(0.1 / interval_s * count * 1.3 + 30, 0.1 * FIRST_PER_S * 1.02 + 2)
        assert len(schedule.asked) == count
        for moments in schedule.asked.values():
            assert moments[0] <= min(interval_s, count / FIRST_PER_S) + 0.01
            pauses = [later - sooner for sooner, later in pairwise(moments)]
            assert interval_s / 2 - 0.001 <= pauses[0] <= interval_s * 1.5 + count / FIRST_PER_S
            assert all(interval_s * 0.899 <= pause <= interval_s * 1.101 for pause in pauses[1:])

    play_virtually(script)


def test_nodes_that_come_one_after_the_other_make_no_burst() -> None:
    async def script() -> None:
        schedule = Schedule()
        watching = Watching(2.0)
        for asked in nodes(3000):  # as many steps, in one moment
            schedule.prober.watch(asked, watching)
            await asyncio.sleep(0)
        await asyncio.sleep(20)
        await schedule.prober.close()
        assert schedule.most_within(0.25) <= (FIRST_PER_S + 3000 / 2) / 4 * 1.1

    play_virtually(script)


def test_two_thousand_nodes_on_a_real_server() -> None:
    """Few connections at a time, and none before it is planned. A busy machine makes probes late, never early."""
    count, interval_s = 2000, 4.0
    at: list[float] = []
    open_now = most_open = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most_open
        open_now += 1
        most_open = max(most_open, open_now)
        at.append(asyncio.get_running_loop().time())
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            open_now -= 1
            writer.transport.abort()

    async def run() -> None:
        listener = socket.create_server(("0.0.0.0", 0), backlog=1024)
        server = await asyncio.start_server(serve, sock=listener)
        port = listener.getsockname()[1]
        questioner = Questioner(Names(resolve), TlsContexts("system", from_environment({}), lambda _: None))
        prober = Prober(questioner.ask, random.Random(1))
        watching = Watching(interval_s)
        for number in range(count):
            prober.watch(probe(f"127.1.{number // 250}.{number % 250 + 1}:{port}"), watching)
        started = asyncio.get_running_loop().time()
        try:
            await asyncio.wait_for(watching.until(count), 40)
        finally:
            await prober.close()
            server.close()
            await eventually(lambda: not open_now)
        assert {result.kind for result in watching.results} == {"success"}
        assert most_open <= AT_ONCE
        for eighth in range(1, 5):  # later probes may be second ones
            planned = count * eighth / 8
            assert sum(moment < started + interval_s * eighth / 8 for moment in at) <= planned + 10, eighth

    asyncio.run(run())
