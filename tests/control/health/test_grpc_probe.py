from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from bascule.balance.node_health import Outcome
from bascule.control.health.grpc_probe import request_message, response_status
from bascule.control.health.http_probe import Malformed
from bascule.control.health.questioner import Result
from tests.control.health.asked import ask, probe
from tests.servers.certificates import Certificates
from tests.servers.grpc_health import NOT_SERVING, SERVING, GrpcHealthServer
from tests.servers.raw import RawConnection, RawUpstream

GOOD = Result(Outcome.SUCCESS, "success")


@pytest.fixture
def server() -> Iterator[Callable[..., GrpcHealthServer]]:
    with ExitStack() as stack:

        def start(statuses: dict[str, int], **options: Any) -> GrpcHealthServer:
            made = GrpcHealthServer(statuses, **options)
            stack.callback(made.stop)
            return made

        yield start


def failure(reason: str) -> Result:
    return Result(Outcome.HTTP_FAILURE, "http_failure", reason)


def test_services_by_name(server: Callable[..., GrpcHealthServer]) -> None:
    started = server({"": SERVING, "shop.Cart": NOT_SERVING, "x" * 300: SERVING, "odd": 77})

    def asked(service: str, **active: Any) -> Result:
        return ask(probe(started.address, {"type": "grpc", "grpc_service": service, **active}, scheme="grpc"))

    assert asked("") == GOOD
    assert asked("shop.Cart") == failure("the service is NOT_SERVING")
    assert asked("odd") == failure("the service is 77")
    assert asked("none") == failure("gRPC status NOT_FOUND: the server doesn't know the service")
    assert asked("", req_headers=["X-Token:  abc"], host="me.test") == GOOD
    assert started.metadata[-1]["x-token"] == "abc"
    assert started.metadata[-1]["user-agent"] == "bascule-health-check"


def test_a_server_without_the_service(server: Callable[..., GrpcHealthServer]) -> None:
    started = server({}, named=False)
    found = ask(probe(started.address, {"type": "grpc"}, scheme="grpc"))
    assert found == failure("gRPC status UNIMPLEMENTED: the server has no health service")


def test_over_tls(server: Callable[..., GrpcHealthServer], certificates: Certificates) -> None:
    pair = certificates.server
    started = server({"": SERVING}, tls=(pair.key.read_bytes(), pair.cert.read_bytes()))
    tls = {"ca_certs": certificates.ca.cert.read_text()}
    active = {"type": "grpc"}
    assert ask(probe(started.address, active, scheme="grpcs", tls=tls)) == GOOD
    assert ask(probe(started.address, active, scheme="grpcs")).kind == "tls"
    assert ask(probe(started.address, active | {"https_verify_certificate": False}, scheme="grpcs")) == GOOD


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "malformed"),
        (b"\x00" * 40, "malformed"),
        (b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x00\x08\x07" + b"\x00" * 13, "http_failure"),  # GOAWAY
        (b"", "tcp_failure"),
    ],
)
def test_what_speaks_something_else(raw_upstream: Callable[..., RawUpstream], said: bytes, kind: str) -> None:
    def script(connection: RawConnection) -> None:
        connection.read_until(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        connection.send(said)

    found = ask(probe(raw_upstream(script).address, {"type": "grpc"}, scheme="grpc"))
    assert found.kind == kind, found


def test_messages() -> None:
    assert request_message("") == b""
    assert request_message("ab") == b"\x0a\x02ab"
    assert request_message("x" * 200)[:3] == b"\x0a\xc8\x01"
    assert response_status(b"\x00\x00\x00\x00\x00") == 0
    assert response_status(b"\x00\x00\x00\x00\x02\x08\x01") == 1
    assert response_status(b"\x00\x00\x00\x00\x05\x10\xff\x01\x08\x03") == 3  # a field that isn't known yet before it


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\x00",
        b"\x01\x00\x00\x00\x02\x08\x01",
        b"\x00\x00\x00\x00\x09\x08\x01",
        b"\x00\x00\x00\x00\x01\x08",
        b"\x00\x00\x00\x00\x02\x0a\x00",
        b"\x00\x00\x00\x00\x0c\x08" + b"\xff" * 11,
    ],
)
def test_messages_that_are_none(body: bytes) -> None:
    with pytest.raises(Malformed):
        response_status(body)
