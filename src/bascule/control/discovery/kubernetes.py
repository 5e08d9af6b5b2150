"""Services of Kubernetes clusters: their Endpoints or EndpointSlices, listed once and then watched.

A service's name is NAMESPACE/NAME:PORT with the name or the number of a port, and with ID/ in front when several
clusters are configured.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

import orjson
from pydantic import BeforeValidator, Field, model_validator

from bascule.control.discovery.discovery import (
    Discovery,
    DiscoveryConfig,
    DiscoveryFailure,
    Found,
    Host,
    Nodes,
    Service,
    closing,
    together,
)
from bascule.control.discovery.http import Answer, CutShort, HttpRefused
from bascule.control.discovery.kubernetes_objects import Cluster, Kind, slim
from bascule.errors.sentences import Refused
from bascule.model.admin_settings import Section
from bascule.model.attributes import Regex

log = logging.getLogger("bascule.discovery")

TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"
PAGE = 500
WATCH_S = 600  # after so long, less up to a half, the API server ends a watch
SILENT_S = 60.0  # beyond that
RELIST_S = 1.0
LASTING_S = 5.0  # a watch that breaks off or is too old sooner than that is a failure
MOST_EARLY = 3  # times in a row that a watch is too old so soon
MAX_LIST_BYTES = 256 << 20
_NAME = re.compile(r"([^/:]+/)?[^/:]+/[^/:]+:[^/:]+")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1)]


class ServiceSection(Section):
    """Where the API server is. `${NAME}` stands for an environment variable, here and in `client`."""

    schema_: Annotated[Literal["http", "https"], Field(alias="schema")] = "https"
    host: Text = "${KUBERNETES_SERVICE_HOST}"
    port: Annotated[Text, BeforeValidator(_text)] = "${KUBERNETES_SERVICE_PORT}"


class Client(Section):
    """`ca_file` is Bascule's own; without it, `ca.crt` beside the token file. No `ssl_verify`: the API server is
    checked if there is such a file."""

    token: Text | None = None
    token_file: Text | None = None
    ssl_verify: bool | None = None
    ca_file: Text | None = None

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise Refused('only one of "token" and "token_file" is allowed')
        return self


class NamespaceSelector(Section):
    equal: Text | None = None
    not_equal: Annotated[tuple[Text, ...], BeforeValidator(_list)] | None = None
    match: Annotated[tuple[Regex, ...], Field(min_length=1)] | None = None
    not_match: Annotated[tuple[Regex, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) > 1:
            raise Refused('only one of "equal", "not_equal", "match" and "not_match" is allowed')
        return self

    def takes(self, namespace: str) -> bool:
        if self.equal is not None:
            return namespace == self.equal
        if self.not_equal is not None:
            return namespace not in self.not_equal
        if self.match is not None:
            return any(re.search(one, namespace) for one in self.match)
        return not any(re.search(one, namespace) for one in self.not_match or ())


class ClusterConfig(Section):
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9\-_]{0,63}$")] = ""
    service: ServiceSection = ServiceSection()
    client: Client = Client()
    namespace_selector: NamespaceSelector = NamespaceSelector()
    label_selector: str = ""
    default_weight: Annotated[int, Field(ge=0)] = 50
    shared_size: str | int | None = None
    watch_endpoint_slices: bool = False


class KubernetesConfig(DiscoveryConfig):
    """APISIX's form: one cluster, or a list of clusters with their ids. `empty_after` and `max_nodes` of the first one
    count."""

    clusters: tuple[ClusterConfig, ...]
    several: bool

    @model_validator(mode="before")
    @classmethod
    def _clusters(cls, value: Any) -> Any:
        listed = value if isinstance(value, list) else [value]
        if not listed:
            raise Refused("needs at least one cluster")
        if not all(isinstance(one, dict) for one in listed):
            raise Refused("must be an object, or a list of objects with an id each")
        own = {name: listed[0][name] for name in DiscoveryConfig.model_fields if name in listed[0]}
        bare = [{k: v for k, v in one.items() if k not in DiscoveryConfig.model_fields} for one in listed]
        return {"clusters": bare, "several": isinstance(value, list), **own}

    @model_validator(mode="after")
    def _ids(self) -> Self:
        ids = [cluster.id for cluster in self.clusters]
        if self.several and (not all(ids) or len(set(ids)) < len(ids)):
            raise Refused('each of several clusters needs an "id" of its own')
        return self


class Kubernetes(Discovery[KubernetesConfig]):
    Config = KubernetesConfig
    sockets = False

    def __init__(self, conf: KubernetesConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._unchecked: set[str] = set()

    def fault(self, service: Service) -> str | None:
        form = "ID/NAMESPACE/NAME:PORT" if self.conf.several else "NAMESPACE/NAME:PORT"
        if not _NAME.fullmatch(service.name) or service.name.count("/") != 1 + self.conf.several:
            return f"must have the form {form}"
        id = service.name.partition("/")[0]
        if self.conf.several and id not in {cluster.id for cluster in self.conf.clusters}:
            return f'there is no cluster with the id "{id}"'
        return None

    def concerns(self, source: str, service: Service) -> bool:
        return not self.conf.several or service.name.startswith(f"{source}/")

    def shown(self) -> Any:
        shown = super().shown()
        return shown["clusters"] if self.conf.several else shown["clusters"][0]

    async def watch_all(self) -> AsyncIterator[Found | DiscoveryFailure]:
        clusters = {
            one.id: Cluster(f"{one.id}/" if self.conf.several else "", one.default_weight) for one in self.conf.clusters
        }
        makers = {one.id: partial(self._follow, one, clusters[one.id]) for one in self.conf.clusters}
        async with closing(together(makers)) as telling:
            async for id, told in telling:
                if isinstance(told, DiscoveryFailure):
                    yield told
                    continue
                fresh, nodes = told
                yield Found(nodes, fresh, id, clusters[id].prefix)

    # ---- one cluster

    async def _follow(self, conf: ClusterConfig, cluster: Cluster) -> AsyncIterator[tuple[bool, Mapping[str, Nodes]]]:
        """(whether it was listed anew, the services that differ). Raises DiscoveryFailure."""
        kind = Kind.SLICES if conf.watch_endpoint_slices else Kind.ENDPOINTS
        namespace = conf.namespace_selector.equal
        url = self._base(conf) + kind.path(None if namespace is None else quote(namespace, safe=""))
        params = {"labelSelector": conf.label_selector} if conf.label_selector else {}
        loop, early = asyncio.get_running_loop(), 0
        while True:
            version, objects = await self._list(conf, url, params)
            began = loop.time()
            taken = [one for one in objects if conf.namespace_selector.takes(_namespace(one))]
            yield True, cluster.replace(kind, taken)
            async with closing(self._watch(conf, url, params, version)) as events:
                async for event, one in events:
                    if conf.namespace_selector.takes(_namespace(one)):
                        changed = cluster.change(kind, one, gone=event == "DELETED")
                        if changed:
                            yield False, changed
            early = early + 1 if loop.time() - began < LASTING_S else 0
            if early == MOST_EARLY:
                raise DiscoveryFailure(f"{url}: what has just been listed is too old to be watched (410 Gone)")
            await asyncio.sleep(RELIST_S)  # the version that was watched from is too old

    async def _list(self, conf: ClusterConfig, url: str, params: Mapping[str, str]) -> tuple[str, list[Any]]:
        objects: list[Any] = []
        more, size_bytes, restarts = "", 0, 0
        while True:
            page = {"limit": str(PAGE), **({"continue": more} if more else {})}
            answer = await self.host.http.ask(
                url, params={**params, **page}, headers=self._headers(conf), total_s=60.0, tls=self._tls(conf)
            )
            if answer.status == 410 and more and restarts < 3:
                objects, more, size_bytes, restarts = [], "", 0, restarts + 1  # it took too long from page to page
                await asyncio.sleep(RELIST_S)
                continue
            if answer.status != 200:
                raise _refusal(answer, url)
            size_bytes += len(answer.body)
            if size_bytes > MAX_LIST_BYTES:
                raise DiscoveryFailure(f"{url} lists more than {MAX_LIST_BYTES} bytes")
            version, more, items = _page(answer.json(url), url)
            objects += [slim(one) for one in items]
            if not more:
                return version, objects

    async def _watch(
        self, conf: ClusterConfig, url: str, params: Mapping[str, str], version: str
    ) -> AsyncIterator[tuple[str, Any]]:
        """Events from that version on; ends when the list must be made anew. Raises DiscoveryFailure."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            limit_s = int(WATCH_S * random.uniform(0.5, 1.0))
            asked = {
                **params,
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": version,
                "timeoutSeconds": str(limit_s),
            }
            lines = self.host.http.lines(
                url, params=asked, headers=self._headers(conf), most_s=limit_s + SILENT_S, tls=self._tls(conf)
            )
            try:
                async with closing(lines) as events:
                    async for line in events:
                        kind, one = _event(line, url)
                        if kind == "ERROR":
                            if one.get("code") == 410:
                                return
                            raise DiscoveryFailure(f"{url}: {one.get('message') or one.get('reason') or 'error'}")
                        version = str(one["metadata"]["resourceVersion"])
                        if kind != "BOOKMARK":
                            yield kind, one
            except HttpRefused as refused:
                if refused.answer.status == 410:
                    return
                raise _refusal(refused.answer, url) from None
            except CutShort:  # as load balancers do to connections on which nothing happens
                if loop.time() - began < LASTING_S:
                    raise
            await asyncio.sleep(random.uniform(0, RELIST_S))

    # ---- how it is asked

    def _base(self, conf: ClusterConfig) -> str:
        host = self._expanded(conf.service.host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{conf.service.schema_}://{host}:{self._expanded(conf.service.port)}"

    def _expanded(self, text: str) -> str:
        """With environment variables in place of ${NAME}. Raises DiscoveryFailure."""

        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name not in self.host.environ:
                raise DiscoveryFailure(f"there is no environment variable {name}")
            return self.host.environ[name]

        return _VARIABLE.sub(value, text)

    def _headers(self, conf: ClusterConfig) -> dict[str, str]:
        """The token file is read each time: Kubernetes renews it."""
        if conf.client.token is not None:
            token = self._expanded(conf.client.token)
        else:
            path = self._token_file(conf)
            try:
                token = path.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "no text"
                raise DiscoveryFailure(f"{path} can't be read: {reason.lower()}") from None
        return {"Authorization": f"Bearer {token}"}

    def _token_file(self, conf: ClusterConfig) -> Path:
        return self.host.folder / self._expanded(conf.client.token_file or TOKEN_FILE)

    def _tls(self, conf: ClusterConfig) -> ssl.SSLContext | bool:
        """False: whoever answers is believed to be the API server."""
        if conf.service.schema_ == "http" or conf.client.ssl_verify is False:
            return False
        given = conf.client.ca_file
        path = self._token_file(conf).with_name("ca.crt") if given is None else self.host.folder / self._expanded(given)
        if given is not None or path.exists():
            try:
                return ssl.create_default_context(cafile=str(path))
            except (OSError, ssl.SSLError) as error:
                raise DiscoveryFailure(f"{path} can't be used: {error.strerror or error}") from None
        if conf.client.ssl_verify:
            return True
        if conf.id not in self._unchecked:
            self._unchecked.add(conf.id)
            log.warning("kubernetes: %s isn't checked: client.ca_file is missing", self._base(conf))
        return False


def _event(line: bytes, url: str) -> tuple[str, Any]:
    try:
        event = orjson.loads(line)
        kind, one = event["type"], event["object"]
        if kind != "ERROR":
            _ = one["metadata"]["resourceVersion"]
        elif not isinstance(one, dict):
            raise TypeError
        return kind, one
    except (ValueError, KeyError, TypeError):
        raise DiscoveryFailure(f"{url} sends what is no event: {line[:60]!r}") from None


def _namespace(one: Any) -> str:
    try:
        return str(one["metadata"]["namespace"])
    except (KeyError, TypeError):
        return ""


def _page(document: Any, url: str) -> tuple[str, str, list[Any]]:
    """A list's version, the token of the page that follows, and its objects. Raises DiscoveryFailure."""
    try:
        items, metadata = document.get("items"), document["metadata"]
        version, more = metadata["resourceVersion"], metadata.get("continue") or ""
        if not isinstance(items, list | None) or not isinstance(version, str) or not isinstance(more, str):
            raise TypeError
        return version, more, items or []
    except (KeyError, TypeError, AttributeError):
        raise DiscoveryFailure(f"{url} answers with no list of Kubernetes objects") from None


def _refusal(answer: Answer, url: str) -> DiscoveryFailure:
    """With what the API server says of it."""
    try:
        message = orjson.loads(answer.body)["message"]
    except (ValueError, KeyError, TypeError):
        message = None
    return answer.refusal(url, message if isinstance(message, str) else "")
