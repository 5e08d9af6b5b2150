"""Everything that can be told about one resource by itself, before it is stored: all faults at once.

What it refers to (does upstream 7 exist, is the key taken) needs the store and is asked elsewhere. The checks are those
that the snapshot's compiler makes, so that nothing is stored that a worker then refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bascule.admin.proto_source import proto_fault
from bascule.errors.apisix_text import wrong_type
from bascule.errors.fault import Fault
from bascule.model.change import Change
from bascule.observe.metrics import Metrics
from bascule.plugin.registry import Registry
from bascule.snapshot.checking_host import CheckingHost
from bascule.snapshot.compact_json import NotJson, pack
from bascule.snapshot.faults import Faults
from bascule.snapshot.plugin_compiler import PluginCompiler, close
from bascule.snapshot.references import Resolve, Resolver, left_open
from bascule.snapshot.resource_compiler import ONLY_AUTH, ResourceCompiler
from bascule.snapshot.upstream_compiler import Served

__all__ = ["Fault", "Validator"]

# Deeper than anybody writes; far less than what a recursive reader of a worker could stumble over.
MAX_DEPTH = 64
_CONSUMERS = ("consumers", "credentials")


class Validator:
    """`attr`: plugin_attr of config.yaml. `resolve`: what references stand for, as far as it is known here: where one
    isn't, its place is not checked (as in APISIX).

    `check` blocks: some microseconds for a route, up to 10 s for a hostile proto (it runs protoc in a process of its
    own). It may be called from any thread."""

    def __init__(
        self,
        registry: Registry,
        *,
        resolve: Resolve,
        attr: Mapping[str, Mapping[str, Any]] | None = None,
        served: Served | None = None,
    ) -> None:
        attrs = attr or {}
        metrics = Metrics()

        def make_host(plugin: str, holder: str) -> CheckingHost:
            return CheckingHost(plugin, holder, attrs.get(plugin) or {}, metrics)

        served = served or Served()
        plugins = PluginCompiler(registry, make_host, Resolver(left_open(resolve), checking=True), served)
        self._compiler = ResourceCompiler(plugins, served)

    def check(self, kind: str, id: str, value: Any) -> list[Fault]:
        """`kind` as in store keys ("routes", "credentials"), `id` as in a Change ("jack/credentials/c1", "vault/1").
        Empty when all is well. `value` is what JSON gives; any junk is answered with a fault."""
        faults = Faults()
        if not isinstance(value, dict):
            faults.add((), "must be an object", wrong_type("object", value))
        elif _too_deep(value):
            faults.add((), f"is nested more than {MAX_DEPTH} deep")
        else:
            self._compile(kind, id, value, faults)
        return [_of_consumer(fault) for fault in faults.found] if kind in _CONSUMERS else faults.found

    def _compile(self, kind: str, id: str, value: dict[str, Any], faults: Faults) -> None:
        try:
            packed = pack(value)
        except NotJson as error:
            faults.add(error.parts, error.sentence)
            return
        record = self._compiler.compile(Change(kind, id, value), packed, None, faults)
        plugins = getattr(record, "plugins", None)
        if plugins is not None:
            close(plugins.plugins_not_in(None))
        if kind == "protos" and not faults:
            reason = proto_fault(value["content"])
            if reason is not None:
                faults.add(("content",), f"doesn't compile: {reason}", f"invalid content: {reason}", semantic=True)


def _of_consumer(fault: Fault) -> Fault:
    """APISIX says in front of what is wrong with a consumer's plugins that it is about them."""
    about_plugins = not fault.prefix and fault.path.startswith("$.plugins") and fault.text != ONLY_AUTH
    return replace(fault, prefix="invalid plugins configuration: ") if about_plugins else fault


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            below += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if not below:
            return False
        level = below
    return True
