"""Kubernetes' API server as far as lists and watches of Endpoints and EndpointSlices go: pages, bookmarks, versions
that are too old (410), bearer tokens, label selectors, HTTPS if wanted.

There is no cluster in Debian nor on PyPI, so this one stands in for it."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.web import JsonServer

RESOURCES = {"endpoints": "/api/v1", "endpointslices": "/apis/discovery.k8s.io/v1"}


def endpoints(namespace: str, name: str, *addresses: str, port: int = 80, **labels: str) -> dict[str, Any]:
    """An Endpoints object with one port, named web."""
    subset = {"addresses": [{"ip": one} for one in addresses], "ports": [{"name": "web", "port": port}]}
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    return {"kind": "Endpoints", "metadata": metadata, "subsets": [subset] if addresses else None}


def endpoint_slice(namespace: str, name: str, service: str | None, *addresses: str, **more: Any) -> dict[str, Any]:
    """An EndpointSlice with one port, named web."""
    labels = {} if service is None else {"kubernetes.io/service-name": service}
    listed = [{"addresses": [one], "conditions": {"ready": True}, **more} for one in addresses]
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    return {"kind": "EndpointSlice", "metadata": metadata, "endpoints": listed, "ports": [{"name": "web", "port": 80}]}


class KubernetesServer(JsonServer):
    """`page`: how many objects a list gives at once, whatever is asked for. `forget` makes every version so far too
    old; `hang_up` ends all watches; `bookmark` sends one to each."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.token = "token"
        self.page = 500
        self.objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = {name: {} for name in RESOURCES}
        self.version = 100
        self.oldest = 0
        self.garbage: bytes | None = None
        self.watches = 0
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._round = 0
        self._changed = threading.Condition()
        super().__init__(tls)

    # ---- as controllers do

    def put(self, one: dict[str, Any]) -> None:
        resource = "endpoints" if one["kind"] == "Endpoints" else "endpointslices"
        key = one["metadata"]["namespace"], one["metadata"]["name"]
        with self._changed:
            event = "MODIFIED" if key in self.objects[resource] else "ADDED"
            self._emit(event, resource, key, one)

    def delete(self, one: dict[str, Any]) -> None:
        resource = "endpoints" if one["kind"] == "Endpoints" else "endpointslices"
        with self._changed:
            self._emit("DELETED", resource, (one["metadata"]["namespace"], one["metadata"]["name"]), one)

    def _emit(self, event: str, resource: str, key: tuple[str, str], one: dict[str, Any]) -> None:
        self.version += 1
        one = {**one, "metadata": {**one["metadata"], "resourceVersion": str(self.version)}}
        if event == "DELETED":
            del self.objects[resource][key]
        else:
            self.objects[resource][key] = one
        self._events.append((self.version, event, one))
        self._changed.notify_all()

    def forget(self) -> None:
        with self._changed:
            self.version += 1
            self.oldest = self.version
            self._changed.notify_all()

    def bookmark(self) -> None:
        with self._changed:
            self.version += 10
            self._events.append((self.version, "BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}}))
            self._changed.notify_all()

    def hang_up(self) -> None:
        with self._changed:
            self._round += 1
            self._changed.notify_all()

    def cut(self) -> None:
        """Ends all connections in the middle of what they carry."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self.hang_up()
        super().stop()

    # ---- the API

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[Any, ...]:
        round = self._round  # what hangs up from now on ends this watch, too
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"kind": "Status", "code": 401, "message": "Unauthorized"}
        *base, resource = url.path.split("/")
        namespace = None
        if len(base) >= 3 and base[-2] == "namespaces":
            namespace, base = base[-1], base[:-2]
        if RESOURCES.get(resource) != "/".join(base):
            return 404, {"kind": "Status", "code": 404, "message": "the server could not find the requested resource"}
        if self.garbage is not None and ("watch" in query or b"type" not in self.garbage):
            return 200, iter([self.garbage])
        if "watch" in query:
            version = int(query["resourceVersion"])
            if version < self.oldest and version % 2:
                return 410, {"kind": "Status", "code": 410, "message": "too old resource version"}
            return 200, self._watch(resource, namespace, version, query, round)
        with self._changed:
            return self._list(resource, namespace, query)

    def _list(self, resource: str, namespace: str | None, query: dict[str, str]) -> tuple[Any, ...]:
        found = [one for key, one in sorted(self.objects[resource].items()) if self._fits(one, namespace, query)]
        begin = int(query.get("continue", "0"))
        page = found[begin : begin + self.page]
        metadata = {"resourceVersion": str(self.version)}
        if begin + self.page < len(found):
            metadata["continue"] = str(begin + self.page)
        return 200, {"kind": "List", "metadata": metadata, "items": page}

    def _watch(
        self, resource: str, namespace: str | None, version: int, query: dict[str, str], round: int
    ) -> Iterator[bytes]:
        with self._changed:
            self.watches += 1
        while True:
            with self._changed:
                while self._round == round and self.version <= version and version >= self.oldest:
                    self._changed.wait(1)
                if self._round != round:
                    return
                if version < self.oldest:
                    yield _line("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
                    return
                events = [event for event in self._events if event[0] > version]
                version = self.version
            for _, kind, one in events:
                wanted = resource == ("endpoints" if one.get("kind") == "Endpoints" else "endpointslices")
                if kind == "BOOKMARK" or (wanted and self._fits(one, namespace, query)):
                    yield _line(kind, one)

    def _fits(self, one: dict[str, Any], namespace: str | None, query: dict[str, str]) -> bool:
        if namespace is not None and one["metadata"]["namespace"] != namespace:
            return False
        selector = query.get("labelSelector")
        if selector is None:
            return True
        name, _, value = selector.partition("=")
        return bool(one["metadata"]["labels"].get(name) == value)


def _line(kind: str, one: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": one}).encode() + b"\n"
