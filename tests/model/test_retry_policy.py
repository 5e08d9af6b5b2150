import pytest

from bascule.model.retry_policy import RetryPolicy


def test_defaults():
    policy = RetryPolicy.model_validate({})
    assert policy.on == ("connect", "timeout", "reset")
    assert policy.methods == ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")
    assert (policy.budget.percent, policy.budget.min_per_second) == (20, 3)
    assert policy.backoff is policy.per_try_timeout is policy.retry_after_max is None
    backoff = RetryPolicy.model_validate({"backoff": {}}).backoff
    assert backoff is not None
    assert (backoff.base, backoff.max, backoff.jitter) == (0.025, 1, 0.5)
    assert policy.hedge is None
    hedge = RetryPolicy.model_validate({"hedge": {"delay": 0.1}}).hedge
    assert hedge is not None
    assert (hedge.max, hedge.methods) == (1, ("GET", "HEAD", "OPTIONS"))


@pytest.mark.parametrize(
    "value",
    [
        {"on": [503]},
        {"on": ["malformed", 429, 502], "methods": ["POST"], "budget": {"percent": 0, "min_per_second": 0}},
        {"backoff": {"base": 1, "max": 5, "jitter": 0}, "per_try_timeout": 0.5, "retry_after_max": 0},
        {"hedge": {"delay": 0.05, "max": 2, "methods": ["GET", "POST"]}},
    ],
)
def test_accepted(told, value):
    assert told(RetryPolicy, value) == []


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"on": []}, "$.on"),
        ({"on": [200]}, "$.on[0]"),
        ({"on": ["503"]}, "$.on[0]"),
        ({"on": [503, 503]}, "$.on"),
        ({"methods": ["FETCH"]}, "$.methods[0]"),
        ({"budget": {"percent": 101}}, "$.budget.percent"),
        ({"budget": {"min_per_second": -1}}, "$.budget.min_per_second"),
        ({"backoff": {"base": 0}}, "$.backoff.base"),
        ({"backoff": {"jitter": 1.5}}, "$.backoff.jitter"),
        ({"per_try_timeout": 0}, "$.per_try_timeout"),
        ({"retry_after_max": -1}, "$.retry_after_max"),
        ({"retries": 3}, "$.retries"),
        ({"hedge": {}}, "$.hedge.delay"),
        ({"hedge": {"delay": 0}}, "$.hedge.delay"),
        ({"hedge": {"delay": 1, "max": 0}}, "$.hedge.max"),
        ({"hedge": {"delay": 1, "max": 9}}, "$.hedge.max"),
        ({"hedge": {"delay": 1, "percentile": 95}}, "$.hedge.percentile"),
    ],
)
def test_refused(told, value, path):
    faults = told(RetryPolicy, value)
    assert len(faults) == 1, faults
    assert faults[0].startswith(f"{path}: "), faults
