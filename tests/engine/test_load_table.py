"""Loads that processes measure together, and processes that are killed meanwhile."""

import os
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from bascule.balance.balancer import make_balancer
from bascule.balance.ewma import average_of
from bascule.balance.member import Load
from bascule.engine.load_table import LoadTable
from tests.engine.table_peer import Peer


@pytest.fixture
def table() -> LoadTable:
    return LoadTable.create()


@pytest.fixture
def peers(table: LoadTable) -> Iterator[Callable[[], Peer]]:
    started: list[Peer] = []

    def start() -> Peer:
        started.append(Peer(LoadTable, table.fd))
        return started[-1]

    yield start
    for peer in started:
        if peer.process.is_alive():
            peer.close()


def balancer(table: LoadTable, kept: dict[str, Any], type: str = "p2c") -> Any:
    if "balancer" not in kept:
        kept["loads"] = {}
        kept["balancer"] = make_balancer(type, [(1, 0)] * 2, ["a:1", "b:1"], random=Random(1), loads=kept["loads"])
        for name, load in kept["loads"].items():
            assert table.share("upstreams/1", name, load)
    return kept["balancer"]


# What peers do; sent to them by name.


def begin(table: LoadTable, kept: dict[str, Any]) -> int:
    node = balancer(table, kept).pick(None, None)
    kept["balancer"].on_start(node)
    return int(node)


def begin_at_b(table: LoadTable, kept: dict[str, Any]) -> None:
    balancer(table, kept).on_start(1)


def end_at_b(table: LoadTable, kept: dict[str, Any]) -> None:
    balancer(table, kept).on_finish(1, 0.1, True)


def measure_b(table: LoadTable, kept: dict[str, Any]) -> None:
    balancer(table, kept, "ewma").on_finish(1, 2.0, True)


def seen(table: LoadTable, kept: dict[str, Any]) -> list[int]:
    balancer(table, kept)
    return [load.all_active for load in kept["loads"].values()]


def average_at_b(table: LoadTable, kept: dict[str, Any]) -> float:
    balancer(table, kept, "ewma")
    return float(average_of(kept["loads"]["b:1"]))


def let_go(table: LoadTable, kept: dict[str, Any]) -> None:
    kept.clear()


def column(table: LoadTable, kept: dict[str, Any]) -> int:
    return table.column


def test_requests_of_all_processes_count(table: LoadTable, peers: Callable[[], Peer]) -> None:
    one, other = peers(), peers()
    assert [peer.do(column) for peer in (one, other)] == [0, 1]
    nodes = [peer.do(begin) for peer in (one, other, other, other, one, one)]
    assert sorted(nodes) == [0, 0, 0, 1, 1, 1]  # always the less busy one of all
    assert one.do(seen) == other.do(seen) == [3, 3]
    one.do(begin_at_b)
    assert other.do(seen) == [3, 4]
    assert other.do(begin) == 0
    one.do(end_at_b)
    assert other.do(seen) == [4, 3]
    assert repr(table) == "<LoadTable 2 nodes, column -1 of 2>"


def test_what_a_killed_process_did_not_take_back_is_cleared(table: LoadTable, peers: Callable[[], Peer]) -> None:
    killed, other = peers(), peers()
    for _ in range(5):
        killed.do(begin_at_b)
    other.do(begin_at_b)
    assert table.sweep() == 0
    assert other.do(seen) == [0, 6]
    killed.kill()
    assert other.do(seen) == [0, 6]  # nobody has looked yet
    assert table.sweep() == 1
    assert other.do(seen) == [0, 1]
    assert table.sweep() == 0


def test_who_begins_takes_the_column_of_one_that_is_gone(table: LoadTable, peers: Callable[[], Peer]) -> None:
    killed, other = peers(), peers()
    killed.do(begin_at_b)
    other.do(begin)
    killed.kill()
    successor = peers()
    assert successor.do(column) == 0
    assert successor.do(seen) == [1, 0]
    left = peers()
    left.do(begin_at_b)
    left.close()  # ended in order, without a word
    assert peers().do(column) == 2
    assert other.do(seen) == [1, 0]


def test_response_times_are_shared(table: LoadTable, peers: Callable[[], Peer]) -> None:
    one, other = peers(), peers()
    assert other.do(average_at_b) == 0.0
    one.do(measure_b)
    assert other.do(average_at_b) == 2.0
    one.kill()
    assert table.sweep() == 1
    assert other.do(average_at_b) == 2.0  # what was learnt stays


def test_rows_that_nobody_holds_are_used_again(peers: Callable[[], Peer]) -> None:
    table = LoadTable.create(rows=4)
    mine = LoadTable.attach(table.fd)
    loads = [Load() for _ in range(9)]
    assert [mine.share("u", f"{i}:1", load) for i, load in enumerate(loads)] == [True] * 4 + [False] * 5
    again = Load()
    assert mine.share("u", "0:1", again)  # it has its row
    assert loads[0].table is loads[3].table is mine
    assert loads[4].table is None
    del loads[:4], again
    assert mine.share("u", "8:1", loads[4])
    assert repr(mine) == "<LoadTable 1 nodes, column 0 of 1>"


def leave_busy(table: LoadTable, kept: dict[str, Any]) -> None:
    """As if it were about to give all rows to other nodes."""
    os.pwrite(table.fd, (1 + table.column).to_bytes(8, "little") * table.rows, 4096)


def share(table: LoadTable, kept: dict[str, Any]) -> bool:
    kept["load"] = Load()
    return table.share("u", "a:1", kept["load"])


def test_rows_that_a_killed_process_was_about_to_take_are_free_again() -> None:
    table = LoadTable.create(rows=4)
    one, killed = Peer(LoadTable, table.fd), Peer(LoadTable, table.fd)
    try:
        assert [peer.do(column) for peer in (one, killed)] == [0, 1]
        killed.do(leave_busy)
        assert table.sweep() == 0  # it lives: what it is at, is its own
        assert not one.do(share)
        killed.kill()
        assert not one.do(share)
        assert table.sweep() == 1
        assert one.do(share)
        assert repr(table) == "<LoadTable 1 nodes, column -1 of 2>"
    finally:
        if killed.process.is_alive():
            killed.kill()
        one.close()


def churn(table: LoadTable, kept: dict[str, Any]) -> int:
    """Holds and lets go, and says how many nodes were found in a state that nobody may leave them in."""
    randomness = Random(os.getpid())
    wrong = 0
    for _ in range(3000):
        name = f"{randomness.randrange(12)}:1"
        load = Load()
        if table.share("u", name, load):
            kept["balancer"] = make_balancer("p2c", [(1, 0)], [name], loads={name: load})
            kept["balancer"].on_start(0)
            wrong += not 1 <= load.all_active <= 8
            kept["balancer"].on_finish(0, 0.0, True)
    kept.clear()
    return wrong


def test_processes_that_hold_and_let_go_at_once_stay_consistent(peers: Callable[[], Peer]) -> None:
    table = LoadTable.create(rows=8)
    started = [Peer(LoadTable, table.fd) for _ in range(4)]
    for peer in started:
        peer.start(churn)
    for peer in started:
        assert peer.result() == 0
        peer.close()
    assert repr(table) == "<LoadTable 0 nodes, column -1 of 4>"


def test_more_processes_than_columns_measure_alone() -> None:
    table = LoadTable.create(columns=1)
    first, second = Peer(LoadTable, table.fd), Peer(LoadTable, table.fd)
    columns = sorted(peer.do(column) for peer in (first, second))
    assert columns == [-1, 0]
    first.close()
    second.close()


def test_something_else_is_refused() -> None:
    fd = os.memfd_create("other")
    try:
        with pytest.raises(ValueError, match="not a table of loads"):
            LoadTable.attach(fd)
        os.pwrite(fd, b"bascload" + (5).to_bytes(8, "little") * 2, 0)
        with pytest.raises(ValueError, match="wrong size"):
            LoadTable.attach(fd)
    finally:
        os.close(fd)
