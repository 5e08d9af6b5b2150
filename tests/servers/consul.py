"""Consul's agent as its HTTP API documents it: services with health checks, keys, blocking queries, ACL tokens.

There is no Consul in Debian 12 nor on PyPI, so this one stands in for it."""

import json
import threading
import time
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.web import JsonServer


class ConsulAgent(JsonServer):
    """`token`: the one that is asked for; "" for none. `lose` forgets everything, as an agent in development mode does
    when it is started again: indexes begin anew."""

    def __init__(self) -> None:
        self.token = ""
        self.services: dict[str, dict[str, Any]] = {}  # by ID
        self.passing: dict[str, bool] = {}
        self.keys: dict[str, bytes] = {}
        self.raw: bytes | None = None  # what is answered to everything
        self.index = 10
        self._changed = threading.Condition()
        super().__init__()

    # ---- as other clients do

    def register(self, id: str, name: str, address: str, port: int, **meta: str) -> None:
        with self._changed:
            self.services[id] = {"ID": id, "Service": name, "Address": address, "Port": port, "Tags": [], "Meta": meta}
            self.passing[id] = True
            self._bump()

    def deregister(self, id: str) -> None:
        with self._changed:
            del self.services[id], self.passing[id]
            self._bump()

    def mark(self, id: str, passing: bool) -> None:
        with self._changed:
            self.passing[id] = passing
            self._bump()

    def put(self, key: str, value: Any) -> None:
        with self._changed:
            self.keys[key] = value if isinstance(value, bytes) else json.dumps(value).encode()
            self._bump()

    def delete(self, key: str) -> None:
        with self._changed:
            del self.keys[key]
            self._bump()

    def lose(self) -> None:
        with self._changed:
            self.services, self.passing, self.keys = {}, {}, {}
            self.index = 1
            self._changed.notify_all()

    def _bump(self) -> None:
        self.index += 1
        self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._changed.notify_all()
        super().stop()

    # ---- the API

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[Any, ...]:
        if self.raw is not None:
            return 200, self.raw
        if self.token and headers.get("x-consul-token") != self.token:
            return 403, b"Permission denied: token lacks permission"
        url = urlsplit(path)
        query = parse_qs(url.query, keep_blank_values=True)
        with self._changed:
            if "index" in query:
                given, wait_s = int(query["index"][0]), float(query["wait"][0].removesuffix("s"))
                deadline = time.monotonic() + wait_s
                while self.index == given and self._server is not None and time.monotonic() < deadline:
                    self._changed.wait(min(1, max(0.0, deadline - time.monotonic())))
            return self._read(unquote(url.path), query, {"X-Consul-Index": str(self.index)})

    def _read(self, path: str, query: dict[str, list[str]], index: dict[str, str]) -> tuple[Any, ...]:
        kind, _, rest = path.removeprefix("/v1/").partition("/")
        if kind == "health" and rest.startswith("service/"):
            name = rest.removeprefix("service/")
            found = [
                {"Node": {"Node": "n1", "Address": "10.9.9.9"}, "Service": service, "Checks": [{"Status": "passing"}]}
                for id, service in self.services.items()
                if service["Service"] == name and (self.passing[id] or "passing" not in query)
            ]
            return 200, found, index
        if kind == "kv" and "recurse" in query:
            listed = [
                {"Key": key, "Value": b64encode(value).decode() if value else None, "Flags": 0}
                for key, value in sorted(self.keys.items())
                if key.startswith(rest)
            ]
            return (200, listed, index) if listed else (404, b"", index)
        return 404, b"", index
