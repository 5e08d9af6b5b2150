"""What plugins and logs see of an exchange, and exchanges of a plugin that changes."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.engine.hooked import CONFIG, wait_log
from tests.servers.gateway import Gateway
from tests.servers.raw import RawUpstream

VIEW = """
from bascule.plugin import Config, Plugin


class View(Plugin):
    name = "view"
    priority = 1
    Config = Config

    def log(self, request):
        x = request.exchange
        record = x.record()
        self.host.log.warning(
            "seen %s %s %s %s %s %s %r %s",
            x.remote_addr, x.server_port, x.scheme, record[0], record[1], x.finished, x.proxied,
            x.variable("upstream_addr"),
        )
        self.host.log.warning("shown %r", x)
"""


def test_what_a_log_hook_sees(echo: RawUpstream, module_gateway: Callable[..., Gateway]) -> None:
    routes = [
        {"id": "up", "uri": "/up", "plugins": {"view": {}}, "upstream": {"nodes": {echo.address: 1}}},
        {"id": "none", "uri": "/none", "plugins": {"view": {}}, "upstream": {"nodes": {}, "type": "roundrobin"}},
    ]
    server = module_gateway({"routes": routes}, CONFIG, files={"mine.py": VIEW})
    with server.client() as client:
        assert client.request("GET", "/up").status == 200
        wait_log(server, f"seen 127.0.0.1 {server.port} http 200 upstream True None {echo.address}")
        wait_log(server, "shown <exchange state=7 status=200 ")
        assert client.request("GET", "/none").status == 503
        wait_log(server, f"seen 127.0.0.1 {server.port} http 503 gateway True None None")


def test_a_users_plugin_reloads_live(tmp_path: Path) -> None:
    code = """
from bascule.plugin import Config, Plugin, Response

class Hello(Plugin):
    name = "hello"
    priority = 1
    Config = Config

    def access(self, request):
        return Response(200, "version {n}")
"""
    path = tmp_path / "gateway" / "hello.py"
    path.parent.mkdir()
    path.write_text(code.format(n=1))
    routes = {"routes": [{"id": "h", "uri": "/*", "plugins": {"hello": {}}, "upstream": {"nodes": {"127.0.0.1:1": 1}}}]}
    server = Gateway(path.parent, routes, {"bascule": {"plugins": ["hello.py"]}})
    try:
        with server.client() as client:
            assert client.request("GET", "/").body == b"version 1"
            path.write_text(code.format(n=22))
            deadline = time.monotonic() + 10
            while client.request("GET", "/").body != b"version 22":
                assert time.monotonic() < deadline, server.log
                time.sleep(0.02)
            path.write_text("this is no Python")
            wait_log(server, "hello.py")
            assert client.request("GET", "/").body == b"version 22"
    finally:
        server.stop()
