import pytest

from bascule.model.health_check import Checks


@pytest.mark.parametrize(
    "value",
    [
        {"active": {}},
        {"passive": {}},
        {"active": {"type": "tcp"}, "passive": {"unhealthy": {"timeouts": 0, "retry_after": 2.5}}},
        {"active": {"type": "grpc", "grpc_service": "shop.Cart", "http_method": "POST"}},
        {"active": {"http_path": "/ok", "req_headers": ["User-Agent: x"], "healthy": {"interval": 2, "successes": 1}}},
    ],
)
def test_accepted(told, value):
    assert told(Checks, value) == []


def test_defaults():
    checks = Checks.model_validate({"active": {}, "passive": {}})
    assert checks.active.healthy.http_statuses == (200, 302)
    assert checks.active.unhealthy.model_dump() == {
        "interval": 1,
        "http_statuses": (429, 404, 500, 501, 502, 503, 504, 505),
        "http_failures": 5,
        "tcp_failures": 2,
        "timeouts": 3,
    }
    assert len(checks.passive.healthy.http_statuses) == 19
    assert checks.passive.unhealthy.timeouts == 7


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        ({}, ['$: needs "active" or "passive"']),
        ({"active": {"type": "udp"}}, ["$.active.type: must be one of 'http', 'https', 'tcp' or 'grpc'"]),
        ({"active": {"healthy": {"successes": 0}}}, ["$.active.healthy.successes: must be at least 1"]),
        ({"passive": {"healthy": {"successes": 255}}}, ["$.passive.healthy.successes: must be at most 254"]),
        (
            {"passive": {"healthy": {"http_statuses": [1]}}},
            ["$.passive.healthy.http_statuses[0]: must be at least 200"],
        ),
        ({"active": {"healthy": {"http_statuses": [500, 500]}}}, ["$.active.healthy.http_statuses: holds 500 twice"]),
        ({"active": {"http_method": "GET /"}}, ["$.active.http_method: 'GET /' is not a method of HTTP"]),
        (
            {"active": {"req_headers": ["A: b\r\nC: d"]}},
            ["$.active.req_headers[0]: 'A: b\\r\\nC: d' is not a header field, as in \"Name: value\""],
        ),
        ({"passive": {"type": "grpc"}}, ["$.passive.type: must be one of 'http', 'https' or 'tcp'"]),
        ({"passive": {"unhealthy": {"retry_after": 0}}}, ["$.passive.unhealthy.retry_after: must be greater than 0"]),
        ({"active": {"prot": 1}}, ['$.active.prot: unknown attribute "prot"; did you mean "port"?']),
    ],
)
def test_refused(told, value, errors):
    assert told(Checks, value) == errors
