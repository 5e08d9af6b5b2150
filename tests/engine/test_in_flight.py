"""Requests in flight, counted by several processes at once, and processes that are killed meanwhile."""

import os
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from bascule.engine.in_flight import InFlight, own_table
from bascule.engine.shared_counters import SharedCounters
from tests.engine.table_peer import Peer

Kept = dict[str, Any]


@pytest.fixture
def table() -> InFlight:
    return InFlight.create()


@pytest.fixture
def peers(table: InFlight) -> Iterator[Callable[[], Peer]]:
    started: list[Peer] = []

    def start() -> Peer:
        started.append(Peer(InFlight, table.fd))
        return started[-1]

    yield start
    for peer in started:
        if peer.process.is_alive():
            peer.close()


# What peers do; sent to them by name.


def enter(table: InFlight, kept: Kept) -> int:
    return table.enter("a", 3)


def leave(table: InFlight, kept: Kept) -> None:
    table.leave("a")


def shown(table: InFlight, kept: Kept) -> str:
    return repr(table)


def storm(table: InFlight, kept: Kept) -> tuple[int, int]:
    """(how often it was let in, and how often it was told of more than the limit while it was in)."""
    randomness = Random(os.getpid())
    entered = wrong = 0
    held: list[str] = []
    for _ in range(20_000):
        if held and randomness.random() < 0.6:
            table.leave(held.pop())
        else:
            key = f"k{randomness.randrange(3)}"
            total = table.enter(key, 2)
            if total <= 2:
                entered += 1
                held.append(key)
                wrong += total < 1
    for key in held:
        table.leave(key)
    return entered, wrong


MOST = 2
WITNESS: list[SharedCounters] = []  # another way to count, which forked processes share


def contend(table: InFlight, kept: Kept) -> None:
    """Takes a place of two and lets it go, again and again."""
    [witness] = WITNESS
    left = 5000
    while left:
        if table.enter("narrow", MOST) > MOST:
            os.sched_yield()
            continue
        there = witness.add("in", 1)
        assert 1 <= there <= MOST, there
        witness.add("in", -1)
        table.leave("narrow")
        left -= 1


def test_one_process() -> None:
    table = own_table()
    assert [table.enter("a", 2) for _ in range(4)] == [1, 2, 3, 3]
    assert table.enter("b", 2) == 1
    assert table.enter("a", 0) == 3
    assert repr(table) == "<InFlight 2 keys, column 0 of 1>"
    table.leave("a")
    assert table.enter("a", 2) == 2
    for key in ("a", "a", "b", "b", "never"):
        table.leave(key)
    assert table.enter("a", 1) == 1
    table.leave("a")
    assert table.enter("a", 0) == 1  # nothing fits, and nothing stays
    assert repr(table) == "<InFlight 0 keys, column 0 of 1>"
    assert table.alone == 0


def test_all_processes_count(peers: Callable[[], Peer]) -> None:
    one, other = peers(), peers()
    assert [peer.do(enter) for peer in (one, other, other, one, other)] == [1, 2, 3, 4, 4]
    one.do(leave)
    assert [peer.do(enter) for peer in (other, one)] == [3, 4]
    for peer in (other, other, other):
        peer.do(leave)
    assert one.do(enter) == 1
    assert other.do(shown) == "<InFlight 0 keys, column 1 of 2>"


def test_what_a_killed_process_held_comes_free(table: InFlight, peers: Callable[[], Peer]) -> None:
    killed, other = peers(), peers()
    assert [peer.do(enter) for peer in (killed, killed, other, other)] == [1, 2, 3, 4]
    killed.kill()
    assert other.do(enter) == 4  # nobody has looked yet
    assert table.sweep() == 1
    assert other.do(enter) == 2
    successor = peers()
    assert successor.do(enter) == 3
    successor.kill()
    assert peers().do(enter) == 3  # who begins looks, too


def test_many_at_once_leave_nothing_behind(peers: Callable[[], Peer]) -> None:
    started = [peers() for _ in range(4)]
    for peer in started:
        peer.start(storm)
    for peer in started:
        entered, wrong = peer.result()
        assert entered > 0
        assert wrong == 0
    assert [peer.do(enter) for peer in started] == [1, 2, 3, 4]


def test_the_limit_is_never_exceeded(peers: Callable[[], Peer]) -> None:
    WITNESS.append(SharedCounters.create(1 << 16))
    started = [peers() for _ in range(4)]
    for peer in started:
        peer.start(contend)
    for peer in started:
        peer.result()
    WITNESS.clear()


def test_no_room(caplog: pytest.LogCaptureFixture) -> None:
    table = InFlight.create(2, 1)
    table.take_column()
    keys = [f"k{n}" for n in range(5)]
    assert [table.enter(key, 1) for key in keys] == [1] * 5  # counted all the same
    assert [table.enter(key, 1) for key in keys] == [2] * 5
    assert table.alone == 3
    assert len(caplog.records) == 1
    for key in keys:
        table.leave(key)
    assert repr(table) == "<InFlight 0 keys, column 0 of 1>"
    stranger = InFlight(os.dup(table.fd), True)  # without a column
    assert [stranger.enter("k0", 1) for _ in range(2)] == [1, 2]
    assert table.enter("k0", 1) == 1
