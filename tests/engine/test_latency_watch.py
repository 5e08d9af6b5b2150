import random
from statistics import median
from typing import Any

import pytest

from bascule.engine.latency_watch import CLASSES, LatencyWatch, _median_without, class_of, seconds_of
from bascule.model.outlier_detection import Latency


def watch(**conf: Any) -> LatencyWatch:
    return LatencyWatch(Latency.model_validate({"min_requests": 4, **conf}))


def note(one: LatencyWatch, now_s: float, times: int = 4, **seconds: float) -> None:
    for _ in range(times):
        for name, each in seconds.items():
            one.note(name, each, now_s)


def slow(one: LatencyWatch, now_s: float) -> set[str]:
    """By the look that the next answer brings about; from a node that is known for nothing else."""
    one.note("other", 0.0, now_s)
    return set(one.slow)


def test_classes() -> None:
    assert [class_of(seconds) for seconds in (-1, 0, 1e-9, 1e-4)] == [0] * 4
    assert class_of(1e9) == CLASSES - 1
    for _ in range(1000):
        seconds = 10 ** random.Random(1).uniform(-4, 3)
        assert seconds / 1.1 <= seconds_of(class_of(seconds)) <= seconds * 1.1


def test_medians() -> None:
    draw = random.Random(1)
    for count in range(2, 30):
        ordered = sorted(draw.choice((0.1, 0.2, draw.random())) for _ in range(count))
        for at, value in enumerate(ordered):
            assert _median_without(ordered, value) == pytest.approx(median(ordered[:at] + ordered[at + 1 :]))


def test_a_node_that_takes_several_times_as_long() -> None:
    one = watch()
    note(one, 1, a=0.1, b=0.1, c=0.5)
    assert slow(one, 1.1) == set()  # nobody has looked yet
    assert slow(one, 1.5) == {"c"}
    assert "it takes 0.4" in one.slow["c"]
    assert repr(one).startswith("<latency watch: a 0.")
    assert not one.as_others("c", 0.4)
    assert one.as_others("c", 0.25)


@pytest.mark.parametrize(
    ("conf", "waits", "expected"),
    [
        ({}, {"a": 0.1, "b": 0.1, "c": 0.2}, set()),  # twice is not three times
        ({"factor": 1.5}, {"a": 0.1, "b": 0.1, "c": 0.2}, {"c"}),
        ({}, {"a": 0.001, "b": 0.001, "c": 0.04}, set()),  # forty times, but nobody would notice
        ({"margin": 0}, {"a": 0.001, "b": 0.001, "c": 0.04}, {"c"}),
        ({}, {"a": 0.1, "c": 0.9}, {"c"}),  # of two
        ({}, {"c": 9.0}, set()),  # of one
        ({}, {"a": 1.0, "b": 1.0, "c": 1.0}, set()),  # slow by nature
        ({}, {"a": 0.1, "b": 0.1, "c": 1.0, "d": 1.0, "e": 0.1}, {"c", "d"}),
        ({"min_requests": 5}, {"a": 0.1, "b": 0.1, "c": 1.0}, set()),
    ],
)
def test_what_is_slow(conf: dict[str, Any], waits: dict[str, float], expected: set[str]) -> None:
    one = watch(**conf)
    note(one, 1, **waits)
    assert slow(one, 2) == expected


def test_percentiles() -> None:
    for percentile, expected in ((50, set()), (90, {"c"})):
        one = watch(percentile=percentile)
        note(one, 1, 10, a=0.1, b=0.1, c=0.1)
        note(one, 1, 3, c=0.9)
        assert slow(one, 2) == expected


def test_what_is_old_counts_no_more() -> None:
    one = watch(window=10)
    note(one, 1, a=0.1, b=0.1, c=0.9)
    assert slow(one, 5) == {"c"}
    assert slow(one, 12) == {"c"}  # the last window counts, too
    note(one, 13, 8, a=0.1, b=0.1, c=0.1)
    assert slow(one, 14) == set()
    one = watch(window=10)
    note(one, 1, a=0.1, b=0.1, c=0.9)
    assert slow(one, 40) == set()


def test_nodes_that_are_out_or_gone_are_no_peers() -> None:
    one = watch()
    note(one, 1, a=0.1, b=0.9, c=0.9)
    assert slow(one, 2) == set()
    one = watch()
    note(one, 1, a=0.1, b=0.1, c=0.9)
    assert slow(one, 2) == {"c"}
    one.forget("c")
    one.forget("c")
    assert slow(one, 3) == set()
    assert not one.as_others("c", 0.9)
    one.keep(["c"])
    assert not one.as_others("c", 0.9)  # nobody is left to be compared with: as it was
    one.keep([])
    assert one.as_others("c", 0.9)
