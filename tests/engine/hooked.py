"""Routes with plugins of a test's own, in front of an upstream that answers as the test says."""

import time
from typing import Any

from tests.servers.gateway import Gateway
from tests.servers.raw import Message, RawConnection, response
from tests.servers.switchboard import Switchboard, body_of

CONFIG = {"bascule": {"plugins": ["mine.py"]}, "nginx_config": {"http": {"client_max_body_size": "0"}}}

# What files of plugins begin with.
MARK = '''
import asyncio

from bascule.plugin import Config, Plugin, Response


class Conf(Config):
    mode: str = ""


class Mark(Plugin):
    """A later link of the chain: says that it was reached."""
    name = "mark"
    priority = 10
    Config = Conf

    def rewrite(self, request):
        request.set_header("X-Marked", "rewrite")

    def log(self, request):
        self.host.log.warning("mark log %s %s", self.conf.mode, request.response and request.response.status)
'''
# Hooks that want a task, and hooks that fail.
TROUBLE = """


class InTask(Plugin):
    name = "in-task"
    priority = 100
    Config = Conf
    needs_task = True

    async def access(self, request):
        async with asyncio.timeout(5):
            await asyncio.sleep(0.001)
        request.set_header("X-Task", asyncio.current_task() is not None and "yes")


class Fails(Plugin):
    name = "fails"
    priority = 100
    Config = Conf

    def hooks(self):
        return (self.conf.mode.removeprefix("async_"),)

    def __init__(self, conf, host):
        super().__init__(conf, host)
        if conf.mode.startswith("async_"):
            setattr(self, conf.mode[6:], self.later)

    async def later(self, request):
        await asyncio.sleep(0.001)
        raise ValueError("failed on purpose: " + self.conf.mode)

    def now(self, *args):
        raise ValueError("failed on purpose: " + self.conf.mode)

    rewrite = access = before_proxy = header_filter = body_filter = log = now
"""


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
