"""The shapes of the Admin API's version 2 ("default"), made from those of version 3."""

from __future__ import annotations

from typing import Any

_ACTIONS = {"GET": "get", "PUT": "set", "POST": "create", "PATCH": "compareAndSwap", "DELETE": "delete"}


def as_version2(method: str, path: str, body: Any) -> Any:
    """`path` below /apisix/admin, of the request. What has no other shape is given back as it is."""
    if not isinstance(body, dict):
        return body
    action = _ACTIONS.get(method, "get")
    if isinstance(body.get("list"), list) and "total" in body:
        folder = {"dir": True, "key": "/apisix" + path.rstrip("/"), "nodes": body["list"]}
        return {"action": action, "count": body["total"], "node": folder}
    if "deleted" in body:
        return body | {"action": action, "node": {}}
    if "key" in body and "value" in body:
        return {"action": action, "count": 1, "node": body}
    return body
