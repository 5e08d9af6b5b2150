"""One configured discovery at work: what it tells is checked, guarded against empty answers, kept, and passed on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bascule.control.discovery.discovery import (
    DiscoveredNode,
    Discovery,
    DiscoveryFailure,
    Found,
    Nodes,
    Service,
    again,
    closing,
)
from bascule.control.discovery.node_list import checked, described, same

log = logging.getLogger("bascule.discovery")

Told = Mapping[Service, tuple[DiscoveredNode, ...]]
MOST_TROUBLES = 20  # that are shown of one discovery
PENDING_S = 2.0  # so long a registry may take to answer before it is named


@dataclass(slots=True)
class Followed:
    """`nodes` None: nothing is known. `fresh`: told since the gateway's start, not kept from before. `emptied`: since
    when the registry says that there are none, while the last ones are still in use."""

    asked: asyncio.Event
    users: int = 0
    since_s: float = field(default_factory=time.monotonic)
    nodes: tuple[DiscoveredNode, ...] | None = None
    fresh: bool = False
    told_at: float = 0.0
    emptied: asyncio.TimerHandle | None = None
    trouble: str | None = None  # why it is not told anew
    bad: str | None = None  # what was left out of the last list
    task: asyncio.Task[None] | None = None


class Follower:
    """`tell` is given what has changed. `kept`: lists of before the start, by service."""

    def __init__(self, type: str, discovery: Discovery[Any], tell: Callable[[Told], None], kept: Told) -> None:
        self.type = type
        self.discovery = discovery
        self.updates = 0
        self.failures = 0
        self._tell = tell
        self._kept = dict(kept)
        self._services: dict[Service, Followed] = {}
        self._by_name: dict[str, set[Service]] = {}
        self._all: dict[str, Nodes] = {}
        self._told_scopes: set[str] = set()  # of which everything was told
        self._troubles: dict[str, str] = {}  # by source
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<follower {self.type}: {len(self._services)} services>"

    # ---- what is followed

    def start(self) -> None:
        """Registries that tell everything are followed from now on."""
        if self.discovery.tells_all():
            self._task = asyncio.get_running_loop().create_task(self._follow_all(), name=f"discover {self.type}")

    def hold(self, service: Service) -> None:
        """One more upstream names it."""
        found = self._services.get(service)
        if found is not None:
            found.users += 1
            return
        found = self._services[service] = Followed(asyncio.Event(), 1)
        found.trouble = self.discovery.fault(service)
        kept = self._kept.pop(service, None)
        if kept and found.trouble is None:
            found.nodes = kept
            self._tell({service: kept})
        if found.trouble is not None:
            log.error("%s: %s", service, found.trouble)
            found.asked.set()
        elif self.discovery.tells_all():
            name = self.discovery.name_of(service)
            self._by_name.setdefault(name, set()).add(service)
            if name in self._all or any(name.startswith(scope) for scope in self._told_scopes):
                self._take(service, found, self._all.get(name, ()))
            elif self._troubles:
                found.asked.set()
        else:
            loop = asyncio.get_running_loop()
            found.task = loop.create_task(self._follow(service, found), name=f"discover {service}")
        if found.nodes is None and (fallback := self.discovery.fallback(service)):
            self._tell({service: tuple(fallback)})

    def let_go(self, service: Service) -> None:
        found = self._services[service]
        found.users -= 1
        if found.users:
            return
        del self._services[service]
        if found.task is not None:
            found.task.cancel()
        if found.emptied is not None:
            found.emptied.cancel()
        if self.discovery.tells_all():
            name = self.discovery.name_of(service)
            if name in self._by_name:
                self._by_name[name].discard(service)
                if not self._by_name[name]:
                    del self._by_name[name]
        self._tell({service: ()})

    def asked(self, services: Iterable[Service]) -> list[asyncio.Event]:
        """One for each that is waited for: set once the registry has told of it, or failed."""
        found = (self._services.get(service) for service in services)
        return [one.asked for one in found if one is not None and not one.asked.is_set()]

    async def close(self) -> None:
        self._closed = True
        tasks = [found.task for found in self._services.values() if found.task is not None]
        tasks += [self._task] if self._task is not None else []
        for found in self._services.values():
            if found.emptied is not None:
                found.emptied.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- what the registry tells

    async def _follow(self, service: Service, found: Followed) -> None:
        async for told in self._guarded(lambda: self.discovery.watch(service), str(service)):
            if isinstance(told, DiscoveryFailure):
                self._failed(service, found, str(told))
                continue
            try:
                self._take(service, found, told)
            except Exception as error:  # a mistake of ours must not end what follows it
                log.exception("%s: internal error", service)
                self._failed(service, found, _internal(error))

    async def _follow_all(self) -> None:
        async for told in self._guarded(self.discovery.watch_all, self.type):
            if isinstance(told, DiscoveryFailure):
                self._failed_all(told)
                continue
            try:
                self._take_all(told)
            except Exception as error:
                log.exception("%s: internal error", self.type)
                self._failed_all(DiscoveryFailure(_internal(error)))

    async def _guarded(self, make: Callable[[], AsyncIterator[Any]], what: str) -> AsyncIterator[Any]:
        """As `again`; a mistake in the code of a discovery is a failure like others."""

        async def careful() -> AsyncIterator[Any]:
            try:
                async with closing(make()) as telling:
                    async for told in telling:
                        yield told
            except DiscoveryFailure:
                raise
            except Exception as error:
                log.exception("%s: internal error", what)
                raise DiscoveryFailure(_internal(error)) from error

        async with closing(again(careful)) as telling:
            async for told in telling:
                yield told

    def _take(self, service: Service, found: Followed, told: Nodes) -> None:
        """A list of one service."""
        try:
            nodes, bad = checked(told, self.discovery.conf.max_nodes, sockets=self.discovery.sockets)
        except DiscoveryFailure as failure:
            self._failed(service, found, str(failure))
            return
        if bad is not None and bad != found.bad:
            log.error("%s: %s", service, bad)
        if found.trouble is not None:
            log.warning("%s: is told again", service)
        found.bad, found.trouble, found.told_at = bad, None, time.time()
        if not nodes and found.nodes:
            self._wait_before_emptying(service, found)
            found.asked.set()
            return
        if found.emptied is not None:
            found.emptied.cancel()
            found.emptied = None
        self._use(service, found, nodes)

    def _wait_before_emptying(self, service: Service, found: Followed) -> None:
        """The registry says that a service has no nodes any more. It may have lost its memory, so the last ones
        serve on for a while; if it still says so then, it is believed."""
        if found.emptied is None:
            wait_s = self.discovery.conf.empty_after
            log.warning(
                "%s: has no nodes any more; the last %d serve for %g s", service, len(found.nodes or ()), wait_s
            )
            found.emptied = asyncio.get_running_loop().call_later(wait_s, self._empty, service, found)

    def _empty(self, service: Service, found: Followed) -> None:
        found.emptied = None
        if self._closed:
            return
        away = any(not source or self.discovery.concerns(source, service) for source in self._troubles)
        if away and found.trouble is None:
            found.trouble = f"has no nodes any more, but {self.type} fails now"
        if found.trouble is None:  # otherwise whatever it tells next decides
            self._use(service, found, ())

    def _use(self, service: Service, found: Followed, nodes: tuple[DiscoveredNode, ...]) -> None:
        before = found.nodes
        found.fresh = True
        if before is None or not same(before, nodes):
            self.updates += 1
            found.nodes = nodes
            self._tell({service: nodes or tuple(self.discovery.fallback(service))})
        found.asked.set()

    def _failed(self, service: Service, found: Followed, sentence: str) -> None:
        self.failures += 1
        if found.trouble is None:
            kept = "" if not found.nodes else f"; the last {len(found.nodes)} nodes serve on"
            log.error("%s: %s%s", service, sentence, kept)
        found.trouble = sentence
        found.asked.set()

    def _take_all(self, told: Found) -> None:
        self._troubles.pop("", None)  # a mistake in the code: it runs again
        if self._troubles.pop(told.source, None) is not None:
            log.warning("%s: %s is told again", self.type, told.source or "everything")
        before = self._all
        if told.whole:
            scope = told.scope
            self._told_scopes.add(scope)
            others = {name: nodes for name, nodes in before.items() if not name.startswith(scope)} if scope else {}
            changed = [
                name
                for name in (before.keys() | told.nodes.keys()) - others.keys()
                if before.get(name, ()) != told.nodes.get(name, ())
            ]
            self._all = {**others, **told.nodes}
            changed += [name for name in self._by_name if name.startswith(scope) and self._is_stale(name)]
        else:
            changed = list(told.nodes)
            for name, nodes in told.nodes.items():
                if nodes:
                    before[name] = nodes
                else:
                    before.pop(name, None)
        for name in dict.fromkeys(changed):
            for service in self._by_name.get(name, ()):
                self._take(service, self._services[service], self._all.get(name, ()))

    def _is_stale(self, name: str) -> bool:
        return any(not self._services[one].fresh or self._services[one].trouble for one in self._by_name[name])

    def _failed_all(self, failure: DiscoveryFailure) -> None:
        self.failures += 1
        if failure.source not in self._troubles:
            log.error("%s: %s; what it told serves on", self.type, failure)
        if len(self._troubles) < MOST_TROUBLES or failure.source in self._troubles:
            self._troubles[failure.source] = str(failure)
        for services in self._by_name.values():
            for service in services:
                self._services[service].asked.set()

    # ---- what is known

    def nodes(self, service: Service) -> tuple[DiscoveredNode, ...]:
        """Those in use."""
        found = self._services.get(service)
        return () if found is None else found.nodes or tuple(self.discovery.fallback(service))

    def known(self) -> dict[Service, tuple[DiscoveredNode, ...]]:
        """For the next start."""
        known = {service: found.nodes for service, found in self._services.items() if found.nodes}
        return {**self._kept, **known}

    def dump(self) -> dict[str, Any]:
        """For the Control API: what the registry told, with what is followed in use."""
        services = {name: described(nodes) for name, nodes in self._all.items() if nodes}
        for service, found in self._services.items():
            if found.nodes:
                name = self.discovery.name_of(service)
                services[name if not service.args else f"{name} {service.args}"] = described(found.nodes)
        return {"config": self.discovery.shown(), "services": services}

    def counts(self) -> dict[str, int]:
        """For the metrics. `unknown`: services without any node; `kept`: those whose list is from before the start."""
        states = self._services.values()
        return {
            "services": len(states),
            "nodes": sum(len(found.nodes or ()) for found in states),
            "unknown": sum(not found.nodes for found in states),
            "kept": sum(bool(found.nodes) and not found.fresh for found in states),
            "updates": self.updates,
            "failures": self.failures,
        }

    def details(self) -> dict[str, Any]:
        """For the status server: `counts`, with names in place of numbers, as many as can be looked at; `more`: further
        troubles."""
        states = [(service, found) for service, found in self._services.items()]
        troubles = [{"source": source, "message": text} for source, text in self._troubles.items()]
        troubles += [
            {"service": str(service), "message": text}
            for service, found in states
            if (text := found.trouble or found.bad or _pending(found)) is not None
        ]
        return {
            **self.counts(),
            "unknown": [str(service) for service, found in states if not found.nodes][:MOST_TROUBLES],
            "emptying": [str(service) for service, found in states if found.emptied is not None][:MOST_TROUBLES],
            "troubles": troubles[:MOST_TROUBLES],
            "more": max(0, len(troubles) - MOST_TROUBLES),
        }


def _internal(error: Exception) -> str:
    return f"internal error: {type(error).__name__}: {error}"


def _pending(found: Followed) -> str | None:
    """That the registry has said nothing at all yet."""
    seconds = time.monotonic() - found.since_s
    if found.asked.is_set() or seconds < PENDING_S:
        return None
    return f"no answer yet, asked for {seconds:.0f} s"
