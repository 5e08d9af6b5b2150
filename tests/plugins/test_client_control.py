from collections.abc import Callable
from typing import Any

import pytest

from bascule.plugin import BodyTooLarge
from bascule.plugin.kit.testing import make, post
from bascule.plugins.client_control import ClientControl
from tests.plugins.faults import fault_paths
from tests.servers.gateway import Gateway
from tests.servers.http2 import Http2Client
from tests.servers.raw import RawUpstream


@pytest.mark.parametrize("conf", [{"max_body_size": -1}, {"max_body_size": "1k"}, {"max_body_size": 1.5}])
def test_bad_configurations(conf: dict[str, Any]) -> None:
    assert fault_paths(ClientControl, conf) == ["$.max_body_size"]


def test_without_a_size_it_does_nothing() -> None:
    assert make(ClientControl, {}).hooks() == ()


def test_announced_too_large() -> None:
    plugin = make(ClientControl, {"max_body_size": 4})
    assert plugin.rewrite(post("/", b"four")) is None
    with pytest.raises(BodyTooLarge):
        plugin.rewrite(post("/", b"fiver"))


@pytest.fixture(scope="module")
def served(echo: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    def route(id: str, plugins: dict[str, Any]) -> dict[str, Any]:
        return {"id": id, "uri": f"/{id}", "plugins": plugins, "upstream": {"nodes": {echo.address: 1}}}

    routes = [
        route("small", {"client-control": {"max_body_size": 1000}}),
        route("large", {"client-control": {"max_body_size": 100_000}}),
        route("any", {"client-control": {"max_body_size": 0}}),
        route("plain", {}),
        route("other", {"proxy-rewrite": {"headers": {"set": {"X-A": "b"}}}}),
        route("held", {"client-control": {"max_body_size": 1000}, "proxy-control": {}}),
    ]
    config = {"nginx_config": {"http": {"client_max_body_size": "10k"}}}
    return module_gateway({"routes": routes}, config)


def chunked(path: str, *chunks: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/small", 1000, 200),
        ("/small", 1001, 413),
        ("/large", 100_000, 200),
        ("/large", 100_001, 413),
        ("/any", 300_000, 200),
        ("/plain", 10_240, 200),
        ("/plain", 10_241, 413),
        ("/other", 10_241, 413),
        ("/held", 1000, 200),
        ("/held", 1001, 413),
    ],
)
def test_announced_and_streamed(served: Gateway, path: str, size: int, status: int) -> None:
    """The route's limit goes before that of config.yaml, in both directions."""
    with served.client() as client:
        answer = client.request("POST", path, body=b"x" * size)
        assert answer.status == status
    with served.client() as client:
        client.send(chunked(path, b"x" * (size - 600), b"y" * 600, b""))
        if status == 200:
            assert len(client.read_response().json()["body"]) == size  # type: ignore[index]
        else:
            refused = client.read_response()
            assert (refused.status, refused.header("Connection")) == (413, "close")
            assert b"413" in refused.body


def test_refused_before_the_body_comes(served: Gateway) -> None:
    with served.client() as client:
        client.send(b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_response(informational=True).status == 413


def test_by_http2(served: Gateway) -> None:
    with Http2Client(served.port) as client:
        for size, status in ((1000, 200), (1001, 413), (1000, 200)):
            stream = client.request("/small", method="POST", body=b"x" * size)
            assert client.wait(stream).status == status
