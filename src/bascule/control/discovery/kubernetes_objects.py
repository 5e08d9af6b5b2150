"""Endpoints and EndpointSlices of a cluster as nodes, object by object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from bascule.control.discovery.discovery import DiscoveredNode, Nodes

LABEL = "kubernetes.io/service-name"
Key = tuple[str, str]  # namespace, name


class Kind(Enum):
    ENDPOINTS = ("/api/v1", "endpoints")
    SLICES = ("/apis/discovery.k8s.io/v1", "endpointslices")

    def path(self, namespace: str | None) -> str:
        base, name = self.value
        return f"{base}/{name}" if namespace is None else f"{base}/namespaces/{namespace}/{name}"


class Cluster:
    """`prefix` stands before the names of services; `weight`: of every node."""

    def __init__(self, prefix: str, weight: int) -> None:
        self.prefix = prefix
        self._weight = weight
        self._objects: dict[Key, tuple[Key, dict[str, list[DiscoveredNode]]]] = {}  # -> its service, nodes by port
        self._services: dict[Key, set[Key]] = {}  # -> its objects

    def replace(self, kind: Kind, objects: Iterable[Any]) -> dict[str, Nodes]:
        """All objects anew; what is known of services now, empty for those that are gone."""
        before = self.everything()
        self._objects, self._services = {}, {}
        for one in objects:
            self._put(kind, one)
        return {**dict.fromkeys(before, ()), **self.everything()}

    def change(self, kind: Kind, one: Any, *, gone: bool) -> dict[str, Nodes]:
        """What is known now of the services that it concerns."""
        key = _key(one)
        if key is None:
            return {}
        concerned = set()
        if key in self._objects:
            concerned.add(self._objects[key][0])
        before = {name for service in concerned for name in self._names(service)}
        self._remove(key)
        if not gone:
            service = self._put(kind, one)
            if service is not None:
                concerned.add(service)
        after = {name: nodes for service in concerned for name, nodes in self._nodes(service).items()}
        return {**dict.fromkeys(before, ()), **after}

    def everything(self) -> dict[str, Nodes]:
        return {name: nodes for service in self._services for name, nodes in self._nodes(service).items()}

    def _put(self, kind: Kind, one: Any) -> Key | None:
        key = _key(one)
        if key is None:
            return None
        try:
            service = key if kind is Kind.ENDPOINTS else (key[0], str(one["metadata"]["labels"][LABEL]))
            told = self._of_endpoints(one) if kind is Kind.ENDPOINTS else self._of_slice(one)
            ports: dict[str, list[DiscoveredNode]] = {}
            for port, node in told:
                ports.setdefault(port, []).append(node)
        except (KeyError, TypeError, AttributeError):
            return None  # a slice of no service, or nothing that Kubernetes would send
        self._objects[key] = service, ports
        self._services.setdefault(service, set()).add(key)
        return service

    def _remove(self, key: Key) -> None:
        found = self._objects.pop(key, None)
        if found is not None:
            self._services[found[0]].discard(key)
            if not self._services[found[0]]:
                del self._services[found[0]]

    def _names(self, service: Key) -> Iterator[str]:
        for key in self._services.get(service, ()):
            for port in self._objects[key][1]:
                yield self._name(service, port)

    def _nodes(self, service: Key) -> Mapping[str, Nodes]:
        """Of all its ports. An address may stand in two slices while it moves from one to the other."""
        found: dict[str, dict[tuple[str, int | None], DiscoveredNode]] = {}
        for key in sorted(self._services.get(service, ())):
            for port, nodes in self._objects[key][1].items():
                known = found.setdefault(self._name(service, port), {})
                for node in nodes:
                    known.setdefault((node.host, node.port), node)
        return {name: tuple(nodes.values()) for name, nodes in found.items()}

    def _name(self, service: Key, port: str) -> str:
        return f"{self.prefix}{service[0]}/{service[1]}:{port}"

    def _of_endpoints(self, one: Any) -> Iterator[tuple[str, DiscoveredNode]]:
        for subset in one.get("subsets") or ():
            for port in subset.get("ports") or ():
                for address in subset.get("addresses") or ():
                    host: Any = address.get("ip") if isinstance(address, dict) else [address]  # named later
                    for name in _names_of(port):
                        yield name, DiscoveredNode(host, port["port"], self._weight)

    def _of_slice(self, one: Any) -> Iterator[tuple[str, DiscoveredNode]]:
        for port in one.get("ports") or ():
            if port.get("port") is None:
                continue  # all ports
            for endpoint in one.get("endpoints") or ():
                if not isinstance(endpoint, dict):
                    endpoint = {"addresses": [[endpoint]]}  # left out later, and named
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                zone = endpoint.get("zone")
                metadata = {"zone": zone} if isinstance(zone, str) else None
                for address in endpoint.get("addresses") or ():
                    for name in _names_of(port):
                        yield name, DiscoveredNode(address, port["port"], self._weight, 0, metadata)


def slim(one: Any) -> Any:
    """Of an object what is looked at here: what else it holds is often ten times as much."""
    if not isinstance(one, dict) or not isinstance(one.get("metadata"), dict):
        return None
    metadata = {key: one["metadata"].get(key) for key in ("namespace", "name", "labels")}
    return {"metadata": metadata, **{key: one[key] for key in ("subsets", "endpoints", "ports") if key in one}}


def _names_of(port: Any) -> Iterator[str]:
    number = str(port["port"])
    yield number
    name = port.get("name")
    if name and name != number:
        yield name


def _key(one: Any) -> Key | None:
    try:
        return str(one["metadata"]["namespace"]), str(one["metadata"]["name"])
    except (KeyError, TypeError):
        return None
