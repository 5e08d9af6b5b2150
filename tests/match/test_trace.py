import pytest

from bascule.match.expression import compile_expression
from bascule.match.route_match import RouteMatch
from bascule.match.trace import WithMethod, host_fits, refusal
from bascule.match.variables import FixedVariables

INSIDE = FixedVariables({"remote_addr": "10.0.0.1", "arg_x": "1"})


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        (RouteMatch(("/",)), None),
        (RouteMatch(("/",), methods=frozenset({"GET"})), None),
        (RouteMatch(("/",), methods=frozenset({"PUT", "POST"})), "method GET is not in [POST, PUT]"),
        (RouteMatch(("/",), hosts=("y.com", "*.x.com")), None),
        (RouteMatch(("/",), hosts=("y.com",)), "host a.x.com is not in [y.com]"),
        (RouteMatch(("/",), remote_addrs=("10.0.0.0/8",)), None),
        (RouteMatch(("/",), remote_addrs=("11.0.0.0/8",)), "remote_addr 10.0.0.1 is not in [11.0.0.0/8]"),
        (RouteMatch(("/",), vars=compile_expression([["arg_x", "==", "1"]])), None),
        (
            RouteMatch(("/",), vars=compile_expression([["arg_x", "==", "2"]])),
            "vars: arg_x == 2 failed because arg_x is 1",
        ),
    ],
)
def test_refusal(match: RouteMatch, reason: str | None) -> None:
    assert refusal(match, "GET", "a.x.com", INSIDE) == reason


def test_a_missing_address_is_said() -> None:
    match = RouteMatch(("/",), remote_addrs=("10.0.0.0/8",))
    assert refusal(match, "GET", "", FixedVariables()) == "remote_addr is missing and is not in [10.0.0.0/8]"


@pytest.mark.parametrize(
    ("pattern", "host", "fits"),
    [
        ("x.com", "X.com", True),
        ("x.com", "x.com.", True),
        ("x.com", "a.x.com", False),
        ("*.x.com", "a.b.x.com", True),
        ("*.x.com", "x.com", False),
        ("*", "", True),
        ("x.com", "", False),
    ],
)
def test_host_fits(pattern: str, host: str, fits: bool) -> None:
    assert host_fits(pattern, host) is fits


def test_with_method() -> None:
    variables = WithMethod(INSIDE, "PROPFIND")
    assert (variables.var("request_method"), variables.var("arg_x"), variables.var("y")) == ("PROPFIND", "1", None)
