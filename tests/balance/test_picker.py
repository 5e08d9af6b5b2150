"""What all balancers do alike."""

from random import Random
from typing import Any

import pytest

from bascule.balance.balancer import TYPES, make_balancer
from bascule.balance.picker import Picker
from tests.balance.shares import members

NAMES = [f"10.0.0.{i}:80" for i in range(5)]
PRIORITIES = ("one group", "two groups", "zones")


def make(type: str, form: str) -> Any:
    nodes = [(2, int(form == "two groups" and i < 2)) for i in range(4)] + [(0, 7)]
    near = [i < 2 for i in range(5)] if form == "zones" else None
    return make_balancer(type, nodes, NAMES, random=Random(1), clock=lambda: 0.0, near=near)


@pytest.mark.parametrize("form", PRIORITIES)
@pytest.mark.parametrize("type", TYPES)
def test_whatever_is_passed_over_or_tried_is_not_picked_while_there_are_others(type: str, form: str) -> None:
    randomness = Random(5)
    picker = make(type, form)
    under_way = []
    for step in range(3000):
        if step % 10 == 0:
            passed = frozenset(randomness.sample(range(-1, 7), randomness.randrange(6)))
            picker.pass_over(passed)
        tried = set(randomness.sample(range(5), randomness.randrange(4))) or None
        node = picker.pick(f"key {step}", tried)
        allowed = {0, 1, 2, 3} - passed - (tried or set())
        assert node in allowed if allowed else node == -1
        if node >= 0:
            picker.on_start(node)
            under_way.append(node)
        if len(under_way) > 6:
            picker.on_finish(under_way.pop(randomness.randrange(6)), 0.001 * (step % 9), step % 4 != 0)


@pytest.mark.parametrize("form", PRIORITIES)
@pytest.mark.parametrize("type", TYPES)
def test_factors_of_weights_are_taken_from_anybody(type: str, form: str) -> None:
    picker = make(type, form)
    for index in (-1, 0, 3, 4, 99):
        for factor in (0.1, 0.5, 1.0):
            picker.weigh(index, factor)
            assert picker.pick("k", None) in (0, 1, 2, 3)


def test_unknown_nodes_are_nobody() -> None:
    for type in TYPES:
        picker = make(type, "one group")
        for index in (-5, 4, 1000):
            picker.on_start(index)
            picker.on_finish(index, 1.0, True)
        assert picker.pick("k", None) in (0, 1, 2, 3)


def test_the_base_picks_nobody() -> None:
    with pytest.raises(NotImplementedError):
        Picker(members(1)).pick(None, None)
