"""The gateway's own variables, as the access log of a running gateway shows them."""

import json
from collections.abc import Callable

from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx

NAMES = [
    "status",
    "upstream_status",
    "upstream_addr",
    "upstream_host",
    "upstream_uri",
    "upstream_scheme",
    "balancer_ip",
    "balancer_port",
    "request_length",
    "bytes_sent",
    "body_bytes_sent",
    "matched_uri",
    "response_source",
    "connection_requests",
    "route_id",
]
FORMAT = json.dumps({name: f"${name}" for name in NAMES})


def test_the_access_log_shows_them(nginx: Callable[[str], Nginx], gateway: Callable[..., Gateway]) -> None:
    upstream = nginx("location / { return 200 'hello'; }")
    server = gateway(
        {"routes": [{"id": "r1", "uri": "/a/*", "upstream": {"nodes": {upstream.address: 1}}}]},
        {"nginx_config": {"http": {"access_log_format": FORMAT, "access_log_format_escape": "json"}}},
    )
    with server.client() as client:
        assert client.request("GET", "/a/b?c=1").body == b"hello"
        assert client.request("GET", "/none").status == 404
    first, second = (json.loads(line) for line in server.access_log(lines=2).splitlines())
    host, _, port = upstream.address.rpartition(":")
    assert first["status"] == first["upstream_status"] == "200"
    assert first["upstream_addr"] == upstream.address
    assert (first["balancer_ip"], first["balancer_port"]) == (host, port)
    assert first["upstream_uri"] == "/a/b?c=1"
    assert first["upstream_scheme"] == "http"
    assert first["upstream_host"] == "localhost"
    assert first["matched_uri"] == "/a/*"
    assert first["route_id"] == "r1"
    assert first["response_source"] == "upstream"
    assert first["body_bytes_sent"] == "5"
    assert int(first["bytes_sent"]) > int(first["body_bytes_sent"])
    assert second["status"] == "404"
    assert second["upstream_status"] == second["upstream_addr"] == "-"
    assert second["response_source"] == "gateway"
    assert second["connection_requests"] == "2"
