from bascule.cli.gateway_client import Change, GatewayClient, error_lines
from bascule.cli.http_gateway import HttpGateway
from bascule.cli.offline_gateway import OfflineGateway


def test_lines_of_errors() -> None:
    answer = {"error_msg": "x", "errors": [{"path": "$.a", "message": "is required", "error": "y"}]}
    assert error_lines(answer) == ("$.a: is required",)
    assert error_lines({"error_msg": "x"}) == error_lines([]) == error_lines(None) == ()


def test_both_ways_have_the_same_methods() -> None:
    for name in ("history", "revision", "between", "export", "apply", "rollback", "close"):
        assert all(callable(getattr(kind, name)) for kind in (HttpGateway, OfflineGateway, GatewayClient))
    assert Change({}, True).note == ""
