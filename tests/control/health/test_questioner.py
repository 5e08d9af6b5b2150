import ssl
from collections.abc import Callable
from typing import Any

import pytest

from bascule.balance.node_health import Outcome
from bascule.control.health.conversation import LARGEST
from bascule.control.health.questioner import Result
from tests.control.health.asked import ask, probe
from tests.servers.certificates import Certificates
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream, answers, response

GOOD = Result(Outcome.SUCCESS, "success")


def server_context(certificates: Certificates, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.cert, certificates.server.key)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.ca.cert)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 the client learns of a refusal too late
    return context


def test_tcp(raw_upstream: Callable[..., RawUpstream]) -> None:
    assert ask(probe(raw_upstream().address, {"type": "tcp"})) == GOOD
    refused = ask(probe(f"127.0.0.1:{free_port()}", {"type": "tcp"}))
    assert refused == Result(Outcome.TCP_FAILURE, "tcp_failure", "connection refused")


def test_names(raw_upstream: Callable[..., RawUpstream]) -> None:
    upstream = raw_upstream(answers(response()))
    assert ask(probe(f"one.test:{upstream.port}")) == GOOD
    unknown = ask(probe(f"none.test:{upstream.port}"))
    assert unknown == Result(Outcome.TCP_FAILURE, "unresolved", "none.test can't be resolved: no such name")


def test_a_name_with_an_address_that_refuses(raw_upstream: Callable[..., RawUpstream]) -> None:
    try:
        upstream = raw_upstream(answers(response()), host="::1")
    except OSError:
        pytest.fail("tests need IPv6 on the loopback interface")
    assert ask(probe(f"both.test:{upstream.port}")) == GOOD


@pytest.mark.parametrize("active", [{}, {"type": "https"}, {"type": "grpc"}])
def test_silence_ends_in_time(raw_upstream: Callable[..., RawUpstream], active: dict[str, Any]) -> None:
    scheme = "grpc" if active.get("type") == "grpc" else "http"
    upstream = raw_upstream(lambda connection: connection.read_to_end() and None)
    found = ask(probe(upstream.address, active | {"timeout": 0.2}, scheme=scheme))
    assert found == Result(Outcome.TIMEOUT, "timeout", "no answer within 0.2 s")


def test_an_answer_that_never_ends(raw_upstream: Callable[..., RawUpstream]) -> None:
    def drip(connection: RawConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.send(b"X: y\r\n" * 100)

    found = ask(probe(raw_upstream(drip).address))
    assert found == Result(Outcome.HTTP_FAILURE, "malformed", f"the answer has more than {LARGEST} bytes")


def test_https(raw_upstream: Callable[..., RawUpstream], certificates: Certificates) -> None:
    upstream = raw_upstream(answers(response()), tls=server_context(certificates))
    ca = {"ca_certs": certificates.ca.cert.read_text()}

    def asked(address: str, active: dict[str, Any], **more: Any) -> Result:
        return ask(probe(f"{address}:{upstream.port}", {"type": "https", **active}, scheme="https", **more))

    assert asked("127.0.0.1", {}, tls=ca) == GOOD
    assert asked("localhost", {}, tls=ca) == GOOD
    assert asked("127.0.0.1", {"host": "localhost"}, tls=ca) == GOOD
    unknown = asked("127.0.0.1", {})
    assert (unknown.outcome, unknown.kind) == (Outcome.TCP_FAILURE, "tls")
    assert unknown.reason.startswith("TLS: the certificate isn't accepted: ")
    other = asked("127.0.0.1", {"host": "other.test"}, tls=ca)
    assert other.kind == "tls"
    assert "mismatch" in other.reason
    assert asked("127.0.0.1", {"https_verify_certificate": False}) == GOOD
    unusable = asked("127.0.0.1", {}, tls={"client_cert_id": "none"})
    assert (unusable.outcome, unusable.kind) == (Outcome.TCP_FAILURE, "tls")


def test_https_with_a_client_certificate(raw_upstream: Callable[..., RawUpstream], certificates: Certificates) -> None:
    upstream = raw_upstream(answers(response()), tls=server_context(certificates, asks=True))
    tls = {"ca_certs": certificates.ca.cert.read_text()}
    pair = certificates.client.texts
    shown = tls | {"client_cert": pair["cert"], "client_key": pair["key"]}
    assert ask(probe(upstream.address, {"type": "https"}, scheme="https", tls=shown)) == GOOD
    assert ask(probe(upstream.address, {"type": "https"}, scheme="https", tls=tls)).outcome is Outcome.TCP_FAILURE


def test_plain_text_where_tls_is_expected(raw_upstream: Callable[..., RawUpstream]) -> None:
    upstream = raw_upstream(lambda connection: connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    found = ask(probe(upstream.address, {"type": "https"}, scheme="https"))
    assert (found.outcome, found.kind) == (Outcome.TCP_FAILURE, "tls")


def test_a_mistake_of_ours_counts_for_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            if name == "timeout_s":
                return 5
            if name in ("host", "port"):
                return "here" if name == "host" else 1
            raise ZeroDivisionError

    broken: Any = Broken()
    assert ask(broken) == Result(None, "error", "internal error: ZeroDivisionError")
    assert "internal error while checking here:1" in caplog.text
