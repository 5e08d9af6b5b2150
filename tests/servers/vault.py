"""Vault's key/value engines as its HTTP API documents them, versions 1 and 2: tokens, namespaces, its own errors.

There is no Vault server in Debian nor on PyPI, so this one stands in for it."""

import threading
from typing import Any
from urllib.parse import unquote

from tests.servers.web import JsonServer

TOKEN = "s.0123456789"


class VaultServer(JsonServer):
    """`secrets`: path under the mount -> fields. Version 1 is mounted at kv, version 2 at secret; the namespace "" is
    the root. `gate` cleared: answers wait."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.namespace = ""
        self.sealed = False
        self.gate = threading.Event()
        self.gate.set()
        super().__init__()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.gate.wait(20)
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if headers.get("x-vault-token") != TOKEN or headers.get("x-vault-namespace", "") != self.namespace:
            return 403, {"errors": ["permission denied"]}
        _, version, mount, *rest = unquote(path).split("/")
        if version != "v1" or method != "GET" or mount not in ("kv", "secret"):
            return 404, {"errors": [f"no handler for route {path!r}"]}
        answer = {"request_id": "1", "lease_id": "", "renewable": False, "lease_duration": 2764800, "wrap_info": None}
        if mount == "kv":
            found = self.secrets.get("/".join(rest))
            return (404, {"errors": []}) if found is None else (200, answer | {"data": found})
        if rest[:1] != ["data"]:
            return 404, {"errors": [], "warnings": ["Invalid path for a versioned K/V secrets engine."]}
        found = self.secrets.get("/".join(rest[1:]))
        if found is None:
            return 404, {"errors": []}
        metadata = {"created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": False, "version": 1}
        return 200, answer | {"data": {"data": found, "metadata": metadata}}
