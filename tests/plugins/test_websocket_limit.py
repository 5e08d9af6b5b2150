import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bascule.plugin.frame import Close, Frame
from bascule.plugin.kit.memory_host import MemoryHost
from bascule.plugin.kit.testing import get
from bascule.plugins.websocket_limit import WebsocketLimit
from tests.plugins.faults import fault_paths
from tests.servers.gateway import Gateway
from tests.servers.websocket_server import WebSocketServer


def made(conf: dict[str, Any]) -> tuple[WebsocketLimit, MemoryHost]:
    host = MemoryHost()
    return WebsocketLimit(WebsocketLimit.Config.model_validate(conf), host), host


def code(answer: Close | None) -> int:
    return 0 if answer is None else answer.code


@pytest.mark.parametrize(
    ("conf", "paths"),
    [
        ({}, ["$"]),
        ({"side": "both"}, ["$"]),
        ({"burst": 5, "types": ["text"]}, ["$"]),
        ({"max_message_size": 0}, ["$.max_message_size"]),
        ({"messages_per_second": 0}, ["$.messages_per_second"]),
        ({"messages_per_second": 1, "burst": 0}, ["$.burst"]),
        ({"types": []}, ["$.types"]),
        ({"types": ["ping"]}, ["$.types[0]"]),
        ({"types": ["text"], "side": "server"}, ["$.side"]),
    ],
)
def test_bad_configurations(conf: dict[str, Any], paths: list[str]) -> None:
    assert fault_paths(WebsocketLimit, conf) == paths


def test_sizes_over_fragments() -> None:
    plugin, _ = made({"max_message_size": 10})
    request = get("/")
    for opcode, size, fin, expected in (
        (1, 10, True, 0),
        (1, 4, False, 0),
        (9, 125, True, 0),
        (0, 6, False, 0),
        (0, 0, True, 0),
        (2, 5, False, 0),
        (0, 6, True, 1009),
    ):
        assert code(plugin.ws_client_frame(request, Frame(opcode, bytes(size), fin))) == expected
    assert code(plugin.ws_client_frame(get("/"), Frame(2, bytes(11)))) == 1009


def test_types() -> None:
    plugin, _ = made({"types": ["text"]})
    request = get("/")
    assert code(plugin.ws_client_frame(request, Frame(1))) == 0
    assert code(plugin.ws_client_frame(request, Frame(2))) == 1003
    assert code(plugin.ws_client_frame(request, Frame(8))) == 0


def test_messages_per_second() -> None:
    plugin, host = made({"messages_per_second": 2, "burst": 3})
    request, other = get("/"), get("/")

    def sent(opcode: int = 1, fin: bool = True) -> int:
        return code(plugin.ws_client_frame(request, Frame(opcode, b"x", fin)))

    assert [sent(), sent(fin=False), sent(0), sent(9), sent()] == [0, 0, 0, 0, 1008]
    assert code(plugin.ws_client_frame(other, Frame(1))) == 0  # each WebSocket by itself
    assert code(plugin.ws_upstream_frame(request, Frame(1, from_client=False))) == 0  # and each side
    host.advance(0.5)
    assert [sent(), sent()] == [0, 1008]
    host.advance(100)
    assert [sent(), sent(), sent(), sent()] == [0, 0, 0, 1008]
    slow, _ = made({"messages_per_second": 0.1})
    assert [code(slow.ws_client_frame(request, Frame(1))) for _ in range(2)] == [0, 1008]


@pytest.mark.parametrize(
    ("side", "phases"),
    [
        ("client", ("ws_client_frame",)),
        ("upstream", ("ws_upstream_frame",)),
        ("both", ("ws_client_frame", "ws_upstream_frame")),
    ],
)
def test_only_the_side_that_is_limited_is_looked_at(side: str, phases: tuple[str, ...]) -> None:
    plugin, _ = made({"types": ["text"], "side": side})
    assert plugin.hooks() == phases


@pytest.fixture(scope="module")
def served(websocket_server: WebSocketServer, module_gateway: Callable[..., Gateway]) -> Gateway:
    def route(id: str, conf: dict[str, Any]) -> dict[str, Any]:
        upstream = {"nodes": {websocket_server.address: 1}}
        plugins = {"websocket-limit": conf}
        return {"id": id, "uri": f"/{id}/*", "enable_websocket": True, "plugins": plugins, "upstream": upstream}

    routes = [
        route("size", {"max_message_size": 1000}),
        route("rate", {"messages_per_second": 0.001, "burst": 5}),
        route("text", {"types": ["text"], "side": "both"}),
        route("answers", {"max_message_size": 1000, "side": "upstream"}),
    ]
    return module_gateway({"routes": routes})


def closed_with(served: Gateway, path: str, *messages: Any) -> tuple[int, int]:
    """(answers, close code) of a WebSocket that sends these."""
    answers = 0

    async def exchange(socket: ClientConnection) -> None:
        nonlocal answers
        for message in messages:
            await socket.send(message)
            await socket.recv()
            answers += 1

    async def script() -> int:
        url = f"ws://127.0.0.1:{served.port}{path}"
        async with connect(url, proxy=None) as socket:
            with pytest.raises(ConnectionClosed):
                await exchange(socket)
            return socket.close_code or 0

    return asyncio.run(asyncio.wait_for(script(), 30)), answers


def test_through_the_gateway(served: Gateway) -> None:
    assert closed_with(served, "/size/x", "x" * 1000, b"y" * 1000, "x" * 1001) == (1009, 2)
    assert closed_with(served, "/size/x", ["x" * 600, "x" * 400], ["x" * 600, "x" * 401]) == (1009, 1)
    assert closed_with(served, "/rate/x", *"abcdef") == (1008, 5)
    assert closed_with(served, "/text/x", "a", b"b") == (1003, 1)
    assert closed_with(served, "/answers/x", "x" * 1001) == (1009, 0)
