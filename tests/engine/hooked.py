"""Routes with plugins of a test's own, in front of an upstream that answers as the test says."""

import time
from typing import Any

from tests.servers.gateway import Gateway
from tests.servers.raw import Message, RawConnection, response
from tests.servers.switchboard import Switchboard, body_of

CONFIG = {"bascule": {"plugins": ["mine.py"]}, "nginx_config": {"http": {"client_max_body_size": "0"}}}


def route(name: str, address: str, plugin: str, mode: str = "") -> dict[str, Any]:
    plugins = {plugin: {"mode": mode}, "mark": {"mode": name}}
    return {"id": name, "uri": f"/{name}", "plugins": plugins, "upstream": {"nodes": {address: 1}}}


def wait_log(server: Gateway, text: str, times: int = 1, timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while server.log.count(text) < times:
        assert time.monotonic() < deadline, f"{server.log.count(text)} times {text!r} in {server.log[-3000:]}"
        time.sleep(0.01)


def plain(board: Switchboard, path: str) -> list[Message]:
    """Has the upstream answer `path` with "plain"; the requests it got."""
    got: list[Message] = []

    @board.on(path)
    def _(up: RawConnection, head: Message) -> None:
        got.append(body_of(up, head))
        up.send(response(b"plain"))

    return got
