import random
from collections import Counter

import pytest

from bascule.plugin.kit.memory_host import MemoryCounters
from bascule.plugin.kit.turns import make_shared_turns, make_turns


@pytest.mark.parametrize("weights", [(1,), (1, 1), (5, 1, 1), (97, 2, 1), (0, 3), (20, 0, 30, 50), (4096, 4097)])
def test_shares_are_exact_over_each_period(weights: tuple[int, ...]) -> None:
    turn = make_turns(weights)
    for _ in range(2):
        found = Counter(turn() for _ in range(sum(weights)))
        assert [found[index] for index in range(len(weights))] == list(weights)


def test_turns_are_spread() -> None:
    turn = make_turns((5, 1, 1))
    assert [turn() for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]


def test_nobody_has_a_weight() -> None:
    assert make_turns((0, 0))() == -1
    assert make_turns(())() == -1


@pytest.mark.parametrize("weights", [(2, 3), (5, 1, 1), (97, 2, 1), (0, 3)])
def test_workers_take_turns_together(weights: tuple[int, ...]) -> None:
    counters = MemoryCounters(lambda: 0.0)
    workers = [make_shared_turns(weights, counters, "k") for _ in range(2)]
    chance = random.Random(5)
    for _ in range(3):
        found = Counter(chance.choice(workers)() for _ in range(sum(weights)))
        assert [found[index] for index in range(len(weights))] == list(weights)


def test_what_needs_no_counter_has_none() -> None:
    counters = MemoryCounters(lambda: 0.0)
    assert make_shared_turns((0, 0), counters, "k")() == -1
    assert make_shared_turns((0, 7), counters, "k")() == 1
    turn = make_shared_turns((4096, 4097), counters, "k")
    assert Counter(turn() for _ in range(8193)) == {0: 4096, 1: 4097}
    assert counters.values == {}
