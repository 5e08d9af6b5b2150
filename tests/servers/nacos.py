"""Nacos as its HTTP API (v1) documents it: instances of services by namespace and group, tokens, signatures.

There is no Nacos in Debian nor on PyPI, so this one stands in for it."""

from base64 import b64encode
from hmac import digest
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.web import JsonServer

USER, PASSWORD = "nacos", "p@ss"
ACCESS_KEY, SECRET_KEY = "access", "secret"


class NacosServer(JsonServer):
    """`services`: (namespace, group, name) -> instances. `auth`: "", "token", "signature". `expire` ends all tokens."""

    def __init__(self) -> None:
        self.services: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self.auth = ""
        self.raw: bytes | None = None
        self._logins = 0
        self._valid = 0
        super().__init__()

    def register(
        self, name: str, ip: str, port: int, *, namespace: str = "public", group: str = "DEFAULT_GROUP", **more: Any
    ) -> None:
        one = {"ip": ip, "port": port, "weight": 1.0, "healthy": True, "enabled": True, "metadata": {}, **more}
        self.services.setdefault((namespace, group, name), []).append(one)

    def expire(self) -> None:
        self._valid = self._logins + 1

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[Any, ...]:
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/nacos/v1/auth/login" and method == "POST":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            if form != {"username": USER, "password": PASSWORD}:
                return 403, b"unknown user!"
            self._logins += 1
            return 200, {"accessToken": f"token-{self._logins}", "tokenTtl": 18000, "globalAdmin": True}
        if url.path != "/nacos/v1/ns/instance/list":
            return 404, b"no such path"
        if not self._may(query):
            return 403, {"status": 403, "error": "Forbidden", "message": "token invalid!"}
        if self.raw is not None:
            return 200, self.raw
        found = self.services.get((query["namespaceId"], query["groupName"], query["serviceName"]), [])
        listed = [one for one in found if one["healthy"] or query.get("healthyOnly") != "true"]
        return 200, {"name": f"{query['groupName']}@@{query['serviceName']}", "hosts": listed, "cacheMillis": 10000}

    def _may(self, query: dict[str, str]) -> bool:
        if self.auth == "token":
            number = query.get("accessToken", "token-0").removeprefix("token-")
            return self._valid <= int(number) and int(number) > 0
        if self.auth == "signature":
            signed = b64encode(digest(SECRET_KEY.encode(), query["data"].encode(), "sha1")).decode()
            named = f"@@{query['groupName']}@@{query['serviceName']}"
            return query["ak"] == ACCESS_KEY and query["signature"] == signed and query["data"].endswith(named)
        return True
