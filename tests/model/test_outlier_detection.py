import pytest

from bascule.model.outlier_detection import BY_DEFAULT, NodeBreaker, OutlierDetection


def test_by_default_only_connections_count():
    assert BY_DEFAULT.consecutive_connect_failures == 1
    assert BY_DEFAULT.consecutive_5xx == BY_DEFAULT.consecutive_gateway_errors == 0
    assert (BY_DEFAULT.base_ejection_time, BY_DEFAULT.max_ejection_time) == (10, 60)


@pytest.mark.parametrize(
    ("model", "value", "path"),
    [
        (OutlierDetection, {}, None),
        (OutlierDetection, {"consecutive_5xx": 0, "error_rate": {"percent": 10}, "max_ejected_percent": 100}, None),
        (OutlierDetection, {"consecutive_5xx": -1}, "$.consecutive_5xx"),
        (OutlierDetection, {"max_ejected_percent": 101}, "$.max_ejected_percent"),
        (OutlierDetection, {"base_ejection_time": 0}, "$.base_ejection_time"),
        (OutlierDetection, {"base_ejection_time": 400}, "$"),
        (OutlierDetection, {"error_rate": {"percent": 0}}, "$.error_rate.percent"),
        (OutlierDetection, {"latency": {"factor": 1.5, "percentile": 99, "margin": 0}}, None),
        (OutlierDetection, {"latency": {"factor": 1}}, "$.latency.factor"),
        (OutlierDetection, {"latency": {"percentile": 100}}, "$.latency.percentile"),
        (OutlierDetection, {"latency": {"margin": -0.1}}, "$.latency.margin"),
        (OutlierDetection, {"latency": {"min_request": 4}}, "$.latency.min_request"),
        (OutlierDetection, {"consecutive_4xx": 1}, "$.consecutive_4xx"),
        (NodeBreaker, {}, None),
        (NodeBreaker, {"failures": 1, "window": 1, "error_rate": {}, "statuses": [429], "successes": 3}, None),
        (NodeBreaker, {"failures": 0}, "$.failures"),
        (NodeBreaker, {"statuses": [200]}, "$.statuses[0]"),
        (NodeBreaker, {"statuses": []}, "$.statuses"),
        (NodeBreaker, {"open": 10, "max_open": 5}, "$"),
    ],
)
def test_validation(told, model, value, path):
    faults = told(model, value)
    assert [fault.partition(": ")[0] for fault in faults] == ([] if path is None else [path])
