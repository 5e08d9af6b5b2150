from math import inf
from random import Random

import pytest

from bascule.balance.tournament import Tournament


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 100])
def test_the_first_is_the_least_whatever_changes(count: int) -> None:
    randomness = Random(count)
    tournament = Tournament(count)
    keys: dict[int, float] = {}
    assert tournament.first == -1
    for _ in range(500 if count else 0):
        leaf = randomness.randrange(count)
        keys[leaf] = randomness.choice((inf, 1.0, 2.0, randomness.random()))
        tournament[leaf] = keys[leaf]
        least = min(keys.values())
        assert tournament.first == -1 if least == inf else keys[tournament.first] == least
