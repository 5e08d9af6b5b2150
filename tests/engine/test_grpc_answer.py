import pytest

from bascule.engine.grpc_answer import grpc_status, trailers_only
from bascule.plugin.response import Response


@pytest.mark.parametrize(
    ("status", "told"), [(200, 0), (401, 16), (403, 7), (404, 12), (418, 2), (429, 8), (502, 14), (504, 4), (511, 2)]
)
def test_statuses(status: int, told: int) -> None:
    assert grpc_status(status) == told


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"message": "Missing API key"}, "Missing API key"),
        ({"error_msg": "100 % \u00fcbel\n"}, "100 %25 %C3%BCbel%0A"),
        ({"message": {"not": "text"}}, "Unauthorized"),
        (b"{broken", "Unauthorized"),
        (b"<html>", "Unauthorized"),
        (b"", "Unauthorized"),
        ({"message": "x" * 5000}, "x" * 1024),
    ],
)
def test_messages(body: object, message: str) -> None:
    answer = trailers_only(Response(401, body, {"WWW-Authenticate": "Key", "Content-Type": "application/json"}))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers() == [
        ("Content-Type", "application/grpc"),
        ("grpc-status", "16"),
        ("grpc-message", message),
        ("WWW-Authenticate", "Key"),
    ]
