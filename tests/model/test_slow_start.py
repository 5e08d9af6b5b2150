import pytest

from bascule.model.slow_start import SlowStart


def test_a_straight_line_from_the_least_weight():
    slow = SlowStart.model_validate({"window": 10})
    assert [slow.factor(passed) for passed in (-5, 0, 0.5, 5, 9.9, 10, 1000)] == [0.1, 0.1, 0.1, 0.5, 0.99, 1.0, 1.0]


def test_more_aggression_is_sooner():
    slow = SlowStart.model_validate({"window": 100, "min_weight_percent": 1, "aggression": 2})
    assert slow.factor(25) == 0.5
    assert slow.factor(0) == 0.01


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({}, "$.window"),
        ({"window": 0}, "$.window"),
        ({"window": 86401}, "$.window"),
        ({"window": 1, "min_weight_percent": 0}, "$.min_weight_percent"),
        ({"window": 1, "min_weight_percent": 101}, "$.min_weight_percent"),
        ({"window": 1, "aggression": 0}, "$.aggression"),
    ],
)
def test_refused(told, value, path):
    assert [sentence.split(": ")[0] for sentence in told(SlowStart, value)] == [path]
