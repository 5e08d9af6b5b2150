from typing import Any

import pytest

from bascule.control.health.probe import probe_of, target
from bascule.model.upstream import Upstream
from bascule.snapshot.upstream_compiler import compile_upstream
from tests.control.health.asked import probe


@pytest.mark.parametrize(
    ("address", "active", "upstream", "expected"),
    [
        ("a.test:8080", {}, {}, ("a.test", 8080, "a.test:8080", "a.test", False)),
        ("a.test", {}, {}, ("a.test", 80, "a.test", "a.test", False)),
        ("10.0.0.1:80", {}, {}, ("10.0.0.1", 80, "10.0.0.1", "10.0.0.1", False)),
        ("[::1]:81", {}, {}, ("::1", 81, "[::1]:81", "::1", False)),
        ("unix:/run/a", {}, {}, ("unix:/run/a", 0, "localhost", "localhost", False)),
        ("a.test:8080", {"port": 9000}, {}, ("a.test", 9000, "a.test:9000", "a.test", False)),
        ("a.test:8080", {"host": "b.test"}, {}, ("a.test", 8080, "b.test", "b.test", False)),
        (
            "a.test:8443",
            {"type": "https"},
            {"scheme": "https", "pass_host": "rewrite", "upstream_host": "c.test"},
            ("a.test", 8443, "c.test", "c.test", True),
        ),
        ("a.test", {"type": "https"}, {"scheme": "https"}, ("a.test", 443, "a.test", "a.test", True)),
        ("a.test:50051", {"type": "grpc"}, {"scheme": "grpc"}, ("a.test", 50051, "a.test:50051", "a.test", False)),
        ("a.test:50051", {"type": "grpc"}, {"scheme": "grpcs"}, ("a.test", 50051, "a.test:50051", "a.test", True)),
        ("a.test:80", {"type": "tcp"}, {"scheme": "https"}, ("a.test", 80, "a.test", "a.test", False)),
    ],
)
def test_what_is_asked(
    address: str, active: dict[str, Any], upstream: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    made = probe(address, active, **upstream)
    assert (made.host, made.port, made.authority, made.server_name, made.secure) == expected


def test_nothing_is_asked_without_an_active_check() -> None:
    conf = Upstream.model_validate({"nodes": {"a.test:80": 1}, "checks": {"passive": {}}})
    assert probe_of(conf, compile_upstream(conf, "u", None, None).nodes[0]) is None


def test_equal_questions_are_equal() -> None:
    one, same = probe("a.test:80", {"http_path": "/x"}), probe("a.test:80", {"http_path": "/x"})
    assert one == same
    assert len({one, same, probe("a.test:80", {"http_path": "/y"}), probe("b.test:80", {"http_path": "/x"})}) == 3


def test_the_request() -> None:
    assert probe("a.test:8080").request() == (
        b"GET / HTTP/1.1\r\nHost: a.test:8080\r\nUser-Agent: bascule-health-check\r\nAccept: */*\r\n"
        b"Connection: close\r\n\r\n"
    )
    given = {
        "http_method": "POST",
        "http_path": "/ping",
        "http_req_body": "é",
        "req_headers": ["User-Agent: me", "host: other.test", "X-A:  b"],
    }
    assert probe("a.test:8080", given).request() == (
        b"POST /ping HTTP/1.1\r\nAccept: */*\r\nUser-Agent: me\r\nhost: other.test\r\nX-A:  b\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n\xc3\xa9"
    )


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a?b=c&d", "/a?b=c&d"),
        ("ready", "/ready"),
        ("", "/"),
        ("*", "*"),
        ("/a b\r\nX: y", "/a%20b%0D%0AX:%20y"),
        ("/%41é", "/%41%C3%A9"),
    ],
)
def test_paths(path: str, sent: str) -> None:
    assert target(path) == sent


def test_no_timeout_is_no_reason_to_wait_for_ever() -> None:
    assert probe("a.test:80", {"timeout": 0}).timeout_s == 1
    assert probe("a.test:80", {"timeout": 0.5}).timeout_s == 0.5
