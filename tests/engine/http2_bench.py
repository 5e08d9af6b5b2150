"""A gateway in front of HTTP/2 upstreams, for several files of tests."""

import itertools
from typing import Any

from tests.servers.gateway import Gateway
from tests.servers.raw import Message


class Bench:
    """One gateway for the file; each test gives its upstream a route of its own, under a path of its own."""

    def __init__(self, gateway: Gateway):
        self.gateway = gateway
        self._routes: dict[str, dict[str, Any]] = {}
        self._names = map("/t{}".format, itertools.count())

    def route(self, *addresses: str, plugins: dict[str, Any] | None = None, **upstream: Any) -> str:
        """The path prefix of a new route."""
        path = next(self._names)
        conf = {"http2": True, "nodes": dict.fromkeys(addresses, 1), **upstream}
        self._routes[path] = {"id": path[1:], "uri": f"{path}*", "upstream": conf, "plugins": plugins or {}}
        self.gateway.reload({"routes": list(self._routes.values())})
        return path

    def get(self, path: str, method: str = "GET", body: bytes = b"") -> Message:
        with self.gateway.client() as client:
            client.sock.settimeout(50)
            return client.request(method, path, body=body)
