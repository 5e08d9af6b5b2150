"""Keeps a checker for every upstream that has `checks`, in the supervisor, and tells workers what it finds.

Probes begin when the configuration is there, whether or not a request ever came. What is known of a node stays over
every change that leaves the node and the upstream's `checks` as they were.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from bascule.control.health.checked_upstreams import INLINE, checked_upstreams
from bascule.control.health.checker import Checker
from bascule.control.health.kept_states import KeptStates
from bascule.control.health.memories import Memories, count, packed, unpacked
from bascule.control.health.names import Names
from bascule.control.health.prober import Prober
from bascule.control.health.questioner import Questioner
from bascule.control.health.states import NOTHING, NodeNames, Report, States
from bascule.control.health.tls_contexts import Pair, TlsContexts
from bascule.model.change import Change
from bascule.model.discovery import DiscoveredNode
from bascule.model.settings import Settings
from bascule.model.upstream import Upstream
from bascule.net.dns import Resolver
from bascule.observe.metrics import Metrics
from bascule.snapshot.compiled_upstream import Node
from bascule.snapshot.references import Resolve
from bascule.snapshot.upstream_compiler import SECURE, compile_upstream

log = logging.getLogger("bascule.health")

TOLD = 100  # unhealthy nodes in the status
MEMORIES_S = 60.0  # so long what an older gateway knew holds for nodes that discovery tells late


class HealthKeeper:
    """`resolve` answers references; `tell` sends workers what has changed; `kept`: what the next gateway gets, and what
    this one got. To be used within a running loop."""

    def __init__(
        self, settings: Settings, resolve: Resolve, tell: Callable[[States], None], kept: KeptStates | None = None
    ) -> None:
        self._settings = settings
        self._resolve = resolve
        self._tell = tell
        self._checkers: dict[str, Checker] = {}
        self._held: dict[tuple[str, str], frozenset[str]] = {}  # keys of what each resource holds
        self._discovered: dict[str, Sequence[DiscoveredNode]] = {}
        self._pairs: dict[str, Pair] = {}  # client certificates by their ids in ssls
        self._untold: set[str] = set()
        self._probes: dict[str, Counter[str]] = {}  # since the metrics were told: name, kinds of results
        self._questioner: Questioner | None = None
        self._prober: Prober | None = None
        self._kept = kept or KeptStates()
        self._kept.look = self._look
        self._memories: dict[str, Memories] = {}
        self._forgetting: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<health keeper: {len(self._checkers)} upstreams>"

    @property
    def enabled(self) -> bool:
        return self._settings.serves_traffic and not self._settings.apisix.disable_upstream_healthcheck

    @property
    def states(self) -> States | None:
        """What a worker is told at its start; None: nothing is checked."""
        if not self.enabled:
            return None
        return {key: names for key, one in self._checkers.items() if (names := _names(one)) != NOTHING}

    # ---- life

    async def use(self, settings: Settings, changes: Iterable[Change]) -> None:
        """config.yaml says something else; `changes` holds every resource. If it concerns them, probes begin anew, with
        what is known of nodes."""
        before, self._settings = self._settings, settings
        if _concerns(before) != _concerns(settings):
            known = {key: checker.memories() for key, checker in self._checkers.items()}
            await self.stop()
            if self.enabled:
                self._remember(known)
            self.take(changes)

    async def stop(self) -> None:
        self._kept.stop()
        self._forget()
        for checker in self._checkers.values():
            checker.close()
        self._checkers.clear()
        self._held.clear()
        if self._prober is not None:
            await self._prober.close()
        if self._questioner is not None:
            await self._questioner.close()
        self._prober = self._questioner = None

    def _make(self) -> tuple[Prober, Questioner]:
        if self._prober is None or self._questioner is None:
            apisix = self._settings.apisix
            resolver = Resolver(
                asyncio.get_running_loop(),
                apisix.dns_resolver,
                valid_s=apisix.dns_resolver_valid,
                timeout_s=apisix.resolver_timeout,
                ipv6=apisix.enable_ipv6,
                search=apisix.enable_resolv_search_opt,
            )
            contexts = TlsContexts(apisix.ssl.ssl_trusted_certificate, self._resolve, self._pairs.get)
            self._questioner = Questioner(Names(resolver.resolve), contexts)
            self._prober = Prober(self._questioner.ask)
        return self._prober, self._questioner

    # ---- configuration

    def take(self, changes: Iterable[Change]) -> None:
        """What the configuration says from now on. An upstream that can't be read leaves its last good version as it
        is: the workers say what is wrong with it."""
        if not self.enabled:
            return
        self._recall()
        for change in changes:
            if change.kind == "ssls":
                self._take_pair(change)
            item = change.kind, change.id
            found = dict(checked_upstreams(change))
            for key in self._held.get(item, frozenset()) - found.keys():
                if (checker := self._checkers.get(key)) is not None:
                    self._remove(key, checker)
            if found:
                self._held[item] = frozenset(found)
            else:
                self._held.pop(item, None)
            for key, value in found.items():
                try:
                    self._put(key, value)
                except Exception:
                    log.exception("internal error in the health check of %s", key)

    def discovered(self, key: str, nodes: Sequence[DiscoveredNode] | None) -> None:
        """The nodes of an upstream that names a service, whenever they change; None: it doesn't name one any more.
        `key`: with dots between the parts of a place inside a plugin's conf."""
        holder, mark, where = key.partition("#")
        key = holder + mark + where.replace(".", "/")
        if nodes is None:
            self._discovered.pop(key, None)
        else:
            self._discovered[key] = nodes
        checker = self._checkers.get(key)
        if checker is not None and checker.upstream.discovery_type is not None:
            checker.take(checker.upstream, self._nodes(key, checker.upstream))

    def _nodes(self, key: str, upstream: Upstream) -> Iterable[Node]:
        if upstream.discovery_type is None:
            return compile_upstream(upstream, key, None, None).nodes
        port = 443 if upstream.scheme in SECURE else 80
        return [Node(one.host, one.port or port, one.weight) for one in self._discovered.get(key, ())]

    def _take_pair(self, change: Change) -> None:
        value = change.value
        self._pairs.pop(change.id, None)
        if isinstance(value, dict) and value.get("type") == "client" and value.get("status", 1) == 1:
            cert, key = value.get("cert"), value.get("key")
            if isinstance(cert, str) and isinstance(key, str):
                self._pairs[change.id] = cert, key

    def _put(self, key: str, value: Any) -> None:
        try:
            upstream = Upstream.model_validate(value)
        except ValidationError:
            return
        checker = self._checkers.get(key)
        if checker is not None and not checker.may_become(upstream):
            self._remove(key, checker)
            checker = None
        if checker is None:
            checker = self._checkers[key] = self._checker(key, upstream)
            checker.remember(self._memories.pop(key, None))
        checker.take(upstream, self._nodes(key, upstream))

    def _checker(self, key: str, upstream: Upstream) -> Checker:
        prober, questioner = self._make()
        return Checker(
            self._name(key),
            upstream,
            prober,
            changed=lambda _: self._note(key),
            counted=self._count,
            address_of=questioner.address_of,
        )

    def _remove(self, key: str, checker: Checker) -> None:
        del self._checkers[key]
        if _names(checker) != NOTHING:
            self._note(key)
        checker.close()
        self._probes.pop(checker.name, None)

    def _name(self, key: str) -> str:
        """As APISIX names a checker: the key of the resource in its store."""
        settings = self._settings
        prefix = {"etcd": settings.etcd.prefix, "sqlite": "/apisix"}.get(settings.provider, "")
        return f"{prefix}/{key.removesuffix(INLINE)}"

    # ---- from one gateway to the next

    def _look(self) -> bytes:
        """For the next gateway."""
        if not self.enabled:
            return packed({})
        return packed(self._memories | {key: checker.memories() for key, checker in self._checkers.items()})

    def _recall(self) -> None:
        """What older gateways left, at the start."""
        left = self._kept.inherited()
        if left:
            known = unpacked(left)
            if bad := count(known.values()):
                log.warning("%d nodes are known to be unhealthy from the gateway before", bad)
            self._remember(known)

    def _remember(self, known: dict[str, Memories]) -> None:
        """For checkers that are made from now on."""
        self._memories = known
        self._forgetting = asyncio.get_running_loop().call_later(MEMORIES_S, self._forget)
        self._kept.changed()

    def _forget(self) -> None:
        self._memories.clear()
        for checker in self._checkers.values():
            checker.remember(None)
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None

    # ---- outcomes

    def reported(self, reports: Mapping[str, list[Report]]) -> None:
        """What a worker saw of requests, by upstream."""
        for key, each in reports.items():
            checker = self._checkers.get(key)
            if checker is not None:
                checker.reported(each)

    def _note(self, key: str) -> None:
        if not self._untold:
            asyncio.get_running_loop().call_soon(self._tell_changes)
        self._untold.add(key)

    def _tell_changes(self) -> None:
        untold, self._untold = self._untold, set()
        self._tell({key: _names(self._checkers.get(key)) for key in untold})
        self._kept.changed()

    def _count(self, checker: Checker, kind: str) -> None:
        self._probes.setdefault(checker.name, Counter())[kind] += 1

    # ---- what operators read

    def describe(self) -> list[dict[str, Any]]:
        """For the Control API: one entry for each checker."""
        return [checker.describe() for checker in self._checkers.values()]

    def details(self) -> dict[str, Any]:
        """For the status server."""
        troubles = [trouble for checker in self._checkers.values() for trouble in checker.troubles()]
        return {
            "enabled": self.enabled,
            "upstreams": len(self._checkers),
            "nodes": sum(len(checker.nodes) for checker in self._checkers.values()),
            "unhealthy": len(troubles),
            "unhealthy_nodes": troubles[:TOLD],
        }

    def set_metrics(self, metrics: Metrics, prefix: str) -> None:
        """Brings the registry up to date before it is rendered."""
        status = metrics.gauge(f"{prefix}upstream_status", "Upstream status from health check", ("name", "ip", "port"))
        status.clear()
        for entry in self.describe():
            for node in entry["nodes"]:
                usable = node["status"] in ("healthy", "mostly_healthy")
                status.child((entry["name"], node["ip"], str(node["port"]))).set(int(usable))
        probes = metrics.counter(
            "bascule_health_probes", "Probes of upstreams' nodes by what came of them", ("name", "result")
        )
        names = {checker.name for checker in self._checkers.values()}
        for labels in [labels for labels in probes.series if labels[0] not in names]:
            probes.remove(labels)
        for name, kinds in self._probes.items():
            for kind, times in kinds.items():
                probes.child((name, kind)).inc(times)
        self._probes.clear()


def _names(checker: Checker | None) -> NodeNames:
    return NOTHING if checker is None else NodeNames(checker.unusable, checker.unsettled)


def _concerns(settings: Settings) -> tuple[Any, ...]:
    """What of config.yaml says how nodes are checked."""
    apisix = settings.apisix
    return (
        apisix.disable_upstream_healthcheck,
        apisix.dns_resolver,
        apisix.dns_resolver_valid,
        apisix.resolver_timeout,
        apisix.enable_ipv6,
        apisix.enable_resolv_search_opt,
        apisix.ssl.ssl_trusted_certificate,
    )
