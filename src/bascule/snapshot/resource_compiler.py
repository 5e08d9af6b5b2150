"""From a change to a record: checks one item by itself, all faults at once. What it refers to is linked later."""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from bascule.errors.sentences import nearest
from bascule.model.change import Change
from bascule.model.consumer import Consumer
from bascule.model.credential import Credential
from bascule.model.kinds import KINDS, model_of
from bascule.model.secret import MANAGERS
from bascule.model.service import Service
from bascule.model.stream_route import StreamRoute
from bascule.model.upstream import Upstream
from bascule.snapshot.certificates import check_tls
from bascule.snapshot.faults import Faults
from bascule.snapshot.item_check import checked_upstream, interned, shared, validated
from bascule.snapshot.plugin_compiler import PluginCompiler
from bascule.snapshot.records import (
    ConsumerRecord,
    CredentialRecord,
    HolderRecord,
    MetadataRecord,
    Record,
    ServiceRecord,
    UpstreamRecord,
)
from bascule.snapshot.route_compiler import RouteCompiler
from bascule.snapshot.ssl_compiler import SslCompiler
from bascule.snapshot.upstream_compiler import Served

M = TypeVar("M", bound=BaseModel)
ONLY_AUTH = "only supports auth type plugins in consumer credential"
Compile = Callable[[Change, bytes, Any, Faults], Record | None]


class ResourceCompiler:
    def __init__(self, plugins: PluginCompiler, served: Served) -> None:
        self._plugins = plugins
        self._served = served
        self._compilers: dict[str, Compile] = {
            "routes": RouteCompiler(plugins, served).compile,
            "services": self._service,
            "upstreams": self._upstream,
            "consumers": self._consumer,
            "credentials": self._credential,
            "consumer_groups": self._holder,
            "plugin_configs": self._holder,
            "global_rules": self._holder,
            "plugin_metadata": self._metadata,
            "ssls": SslCompiler(plugins.resolver).compile,
            "stream_routes": self._stream_route,
        }

    def compile(self, change: Change, packed: bytes, previous: Record | None, faults: Faults) -> Record | None:
        """The record, or None with faults. A broken route whose match can be read gives both: a record that refuses."""
        if change.kind not in KINDS:
            faults.add((), f'unknown kind of resource "{change.kind}"{nearest(change.kind, list(KINDS))}')
            return None
        return self._compilers.get(change.kind, self._stored)(change, packed, previous, faults)

    def _stored(self, change: Change, packed: bytes, previous: Any, faults: Faults) -> Record | None:
        """Kinds that are checked and kept, and not served yet."""
        model = model_of(change.kind, change.id)
        if model is None:
            manager = change.id.partition("/")[0]
            faults.add((), f'unknown secret manager "{manager}"{nearest(manager, list(MANAGERS))}')
            return None
        conf = validated(model, change, faults)
        return None if conf is None else Record(packed, change.file, change.line)

    def _stream_route(self, change: Change, packed: bytes, previous: Any, faults: Faults) -> Record | None:
        """Kept, and not served yet; no plugin and no protocol for streams is there."""
        conf = validated(StreamRoute, change, faults)
        if conf is None:
            return None
        if conf.upstream is not None:
            check_tls(conf.upstream.tls, ("upstream",), faults)
        for name in conf.plugins or ():
            sentence = f'plugin "{name}" can\'t be used in a stream route'
            faults.add(("plugins", name), sentence, f"unknown plugin [{name}]", semantic=True)
        if conf.protocol is not None:
            name = conf.protocol.name
            sentence = f'there is no protocol "{name}"'
            faults.add(("protocol", "name"), sentence, f"unknown protocol [{name}]", semantic=True)
        return None if faults else Record(packed, change.file, change.line)

    def _upstream(
        self, change: Change, packed: bytes, previous: UpstreamRecord | None, faults: Faults
    ) -> UpstreamRecord | None:
        conf = validated(Upstream, change, faults)
        if conf is None:
            return None
        old = previous.upstream if previous else None
        upstream = checked_upstream(conf, f"upstreams/{change.id}", change.id, old, (), self._served, faults)
        if faults or upstream is None:
            return None
        return UpstreamRecord(packed=packed, file=change.file, line=change.line, upstream=upstream)

    def _service(
        self, change: Change, packed: bytes, previous: ServiceRecord | None, faults: Faults
    ) -> ServiceRecord | None:
        conf = validated(Service, change, faults)
        if conf is None:
            self._plugins.check_anyway(change.value, faults)
            return None
        holder = f"services/{change.id}"
        old = previous.upstream if previous else None
        upstream = checked_upstream(conf.upstream, f"{holder}#upstream", None, old, ("upstream",), self._served, faults)
        old_set = previous.plugins if previous else None
        checked = self._plugins.check(conf.plugins, old_set, faults)
        if faults:
            return None
        plugins = self._plugins.build(checked, holder, old_set, faults)
        if faults:
            return None
        return ServiceRecord(
            packed=packed,
            file=change.file,
            line=change.line,
            plugins=plugins,
            name=conf.name,
            labels=conf.labels,
            hosts=shared(conf.hosts or ()),
            websocket=conf.enable_websocket,
            websocket_limits=conf.websocket,
            upstream=upstream,
            upstream_id=interned(conf.upstream_id),
        )

    def _holder(
        self, change: Change, packed: bytes, previous: HolderRecord | None, faults: Faults
    ) -> HolderRecord | None:
        conf = cast(Any, validated(KINDS[change.kind], change, faults))
        if conf is None:
            self._plugins.check_anyway(change.value, faults)
            return None
        old_set = previous.plugins if previous else None
        checked = self._plugins.check(conf.plugins, old_set, faults)
        if faults:
            return None
        plugins = self._plugins.build(checked, f"{change.kind}/{change.id}", old_set, faults)
        if faults:
            return None
        return HolderRecord(packed=packed, file=change.file, line=change.line, plugins=plugins)

    def _consumer(
        self, change: Change, packed: bytes, previous: ConsumerRecord | None, faults: Faults
    ) -> ConsumerRecord | None:
        conf = validated(Consumer, change, faults)
        if conf is None:
            self._plugins.check_anyway(change.value, faults, of_consumer=True)
            return None
        auths, others = self._plugins.check_auth(conf.plugins, faults)
        old_set = previous.plugins if previous else None
        checked = self._plugins.check(others, old_set, faults)
        if faults:
            return None
        plugins = self._plugins.build(checked, f"consumers/{change.id}", old_set, faults)
        if faults:
            return None
        return ConsumerRecord(
            packed=packed,
            file=change.file,
            line=change.line,
            plugins=plugins,
            username=change.id,
            group_id=interned(conf.group_id),
            labels=conf.labels,
            auths=auths,
        )

    def _credential(
        self, change: Change, packed: bytes, previous: CredentialRecord | None, faults: Faults
    ) -> CredentialRecord | None:
        username, _, credential_id = change.id.partition("/credentials/")
        if not username or not credential_id or "/" in credential_id:
            faults.add(("id",), 'must have the form "username/credentials/id"')
        conf = validated(Credential, change, faults)
        if conf is None:
            self._plugins.check_anyway(change.value, faults, of_consumer=True)
            return None
        auths, others = self._plugins.check_auth(conf.plugins, faults)
        for name in others:
            faults.add(("plugins", name), ONLY_AUTH, semantic=True)
        if faults:
            return None
        return CredentialRecord(
            packed=packed,
            file=change.file,
            line=change.line,
            username=intern(username),
            credential_id=credential_id,
            auths=auths,
        )

    def _metadata(self, change: Change, packed: bytes, previous: Any, faults: Faults) -> MetadataRecord | None:
        value = change.value
        if not isinstance(value, dict):
            faults.add((), "must be an object")
            return None
        metadata = self._plugins.check_metadata(change.id, value, faults)
        if faults:
            return None
        return MetadataRecord(packed=packed, file=change.file, line=change.line, metadata=metadata)
