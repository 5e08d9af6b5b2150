"""Eureka's registry as its REST operations document it: applications and their instances, as JSON.

There is no Eureka in Debian nor on PyPI, so this one stands in for it."""

from typing import Any

from tests.servers.web import JsonServer


class EurekaServer(JsonServer):
    """`applications`: name -> instances. `single`: lists of one are written as that one, as some versions do."""

    def __init__(self) -> None:
        self.applications: dict[str, list[dict[str, Any]]] = {}
        self.single = False
        self.broken: tuple[int, bytes] | None = None
        self.authorization: str | None = None
        super().__init__()

    def register(self, name: str, ip: str, port: int, status: str = "UP", **more: Any) -> None:
        one = {
            "instanceId": f"{ip}:{name}:{port}",
            "app": name.upper(),
            "ipAddr": ip,
            "hostName": ip,
            "status": status,
            "overriddenStatus": "UNKNOWN",
            "port": {"$": port, "@enabled": "true"},
            "securePort": {"$": 443, "@enabled": "false"},
            "metadata": {"management.port": "1"},
            **more,
        }
        self.applications.setdefault(name.upper(), []).append(one)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[Any, ...]:
        if self.authorization is not None and headers.get("authorization") != self.authorization:
            return 401, b""
        if self.broken is not None:
            return self.broken
        if path != "/eureka/apps" or "json" not in headers.get("accept", ""):
            return 404, b""
        listed = [
            {"name": name, "instance": found[0] if self.single and len(found) == 1 else found}
            for name, found in self.applications.items()
        ]
        told = listed[0] if self.single and len(listed) == 1 else listed
        return 200, {"applications": {"versions__delta": "1", "apps__hashcode": "UP_1_", "application": told}}
