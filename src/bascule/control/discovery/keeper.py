"""What discovered services are at present: which of them some resource names, their nodes, and who is told.

Runs in the supervisor. Workers are told the nodes of a service before the change that names it, if the registry is
quick enough, and each later list when it comes. A registry that fails takes nothing away; what it told last is kept on
the disk, too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from bascule.control.configuration import PackedChange
from bascule.control.discovery.discovery import Host
from bascule.control.discovery.follower import MOST_TROUBLES, Follower
from bascule.control.discovery.http import Http
from bascule.control.discovery.kept import KeptFile, packed, packed_dump, read_dump, read_kept, shown
from bascule.control.discovery.types import load
from bascule.control.launch import Launch
from bascule.model.change import Change
from bascule.model.discovery import MENTIONED, DiscoveredNode, Service, services_in
from bascule.observe.metrics import Metrics

log = logging.getLogger("bascule.discovery")

Item = tuple[str, str]
Place = tuple[str, str, str]  # kind, id, where in it
Nodes = tuple[DiscoveredNode, ...]
Lists = dict[Service, Nodes]
TELL_S = 0.02  # what changes within this time is told at once
FOLDER = "discovery"


def upstream_key(place: Place) -> str:
    """As CompiledUpstream.key: "upstreams/1", "routes/5#upstream"."""
    kind, id, where = place
    return f"{kind}/{id}#{where}" if where else f"{kind}/{id}"


class DiscoveryKeeper:
    """`tell`: what has changed, for workers. `on_nodes`: called with the key of an upstream and its nodes whenever a
    service that it names has others, and when it comes to name one; with None when it doesn't name one any more."""

    def __init__(
        self,
        tell: Callable[[Lists], None],
        launch: Launch,
        environ: Mapping[str, str],
    ) -> None:
        self.on_nodes: list[Callable[[str, Nodes | None], None]] = []
        self.types: set[str] = set(launch.settings.discovery)  # one object, which others hold, too
        self._tell = tell
        self._section: dict[str, Any] = dict(launch.settings.discovery)
        self._http = Http(trusted=launch.settings.apisix.ssl.ssl_trusted_certificate)
        search = launch.settings.apisix.enable_resolv_search_opt
        self._host = Host(self._http, Path(launch.folder), Path(launch.home), environ, search)
        self._store = Path(launch.store_folder)
        self._followers: dict[str, Follower] = {}
        self._files: dict[str, KeptFile] = {}
        self._places: dict[Service, set[Place]] = {}
        self._held: dict[Item, frozenset[tuple[str, Service]]] = {}
        self._changed: Lists = {}
        self._timer: asyncio.TimerHandle | None = None
        self._started = False
        self._mistakes: dict[str, tuple[str, str]] = {}  # of observers, by upstream: type, sentence
        self._unseen = False  # resources came that weren't looked through
        self._closing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<discovery keeper: {len(self._places)} services, {sorted(self._section)}>"

    # ---- what others ask

    @property
    def answers(self) -> Lists:
        """All that is known now, for a worker that starts."""
        return {service: nodes for service in self._places if (nodes := self.nodes(service))}

    def nodes(self, service: Service) -> Nodes:
        follower = self._followers.get(service.type)
        return () if follower is None else follower.nodes(service)

    def dump(self, type: str) -> Any:
        """For the Control API; None: it isn't configured."""
        follower = self._followers.get(type)
        return None if follower is None else follower.dump()

    def dump_file(self, type: str) -> Any:
        """What the file of the last lists holds; None: there is none. Raises ValueError."""
        file = self._files.get(type)
        try:
            return None if file is None else shown(file.path)
        except OSError:
            return None

    def details(self) -> dict[str, Any]:
        """For the status server."""
        return {
            type: (details := follower.details()) | {"troubles": details["troubles"] + self._mistakes_of(type)}
            for type, follower in self._followers.items()
        }

    def _mistakes_of(self, type: str) -> list[dict[str, str]]:
        return [{"source": key, "message": text} for key, (of, text) in self._mistakes.items() if of == type]

    def set_metrics(self, metrics: Metrics) -> None:
        texts = {
            "services": "Discovered services that some upstream names",
            "nodes": "Their nodes",
            "unknown": "Those of them without any node",
            "kept": "Those whose nodes are from before the start",
            "updates": "Lists of nodes that differed from the one before, since the start",
            "failures": "Tries at a registry that failed, or told what can't be used, since the start",
        }
        families = {name: metrics.gauge(f"bascule_discovery_{name}", text, ("type",)) for name, text in texts.items()}
        for family in families.values():
            family.clear()
        for type, follower in self._followers.items():
            counts = follower.counts()
            for name, family in families.items():
                family.child((type,)).set(counts[name])

    # ---- what the configuration says

    async def take(self, changes: Iterable[Change], wait_s: float) -> None:
        """Before the changes go to workers: the services that they newly name are looked for, and waited for at most so
        long."""
        self._start()
        if not self._section:
            self._unseen = True  # most gateways discover nothing, and look for nothing in what they serve
            return
        new = self._note(changes)
        waits = [event for service in new if (event := self._asked(service)) is not None]
        if waits:
            tasks = [asyncio.ensure_future(event.wait()) for event in waits]
            _, late = await asyncio.wait(tasks, timeout=wait_s)
            for task in late:
                task.cancel()
        self._tell_now()

    def settle(self, changes: Iterable[Change], versions: Callable[[str, str], Sequence[PackedChange]]) -> None:
        """After the changes were taken: forgets what no version of an item names any more. `versions(kind, id)`: those
        that workers may serve."""
        if not self._held:
            return
        for item in {(change.kind, change.id) for change in changes}:
            before = self._held.get(item)
            if before is None:
                continue
            values = [one.value for one in versions(*item) if one.value is not None and MENTIONED in one.value]
            found = frozenset(named for value in values for named in services_in(orjson.loads(value)))
            self._let_go(item, before - found, dict(found))
            if found:
                self._held[item] = found
            else:
                del self._held[item]

    def configure(self, section: Mapping[str, Any], changes: Callable[[], Iterable[Change]]) -> None:
        """As config.yaml says it now: what has changed of it starts anew, with the lists that it has. `changes`: every
        resource, which is looked through if that wasn't done before."""
        before, self._section = self._section, dict(section)
        if section and self._unseen:
            self._unseen = False
            self._note(changes())
        self.types.clear()
        self.types.update(section)
        if not self._started:
            return
        for type in list(self._followers):
            if before.get(type) != section.get(type) or type not in section:
                old = self._followers.pop(type)
                known = old.known()
                self._close_later(old, self._files.pop(type, None))
                if type in section:
                    self._start_one(type, known)
        for type in section:
            if type not in self._followers:
                self._start_one(type, None)
        self._tell_now()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        for file in self._files.values():
            await file.close()
        for follower in self._followers.values():
            await follower.close()
        self._followers, self._files = {}, {}
        await self._http.close()

    # ---- registries

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for type in self._section:
                self._start_one(type, None)

    def _start_one(self, type: str, known: Lists | None) -> None:
        made, conf = load(type, self._section[type])
        dump = getattr(conf, "dump", None)
        path = self._store / FOLDER / f"{type}.json" if dump is None else self._host.home / dump.path
        if known is None:
            known = read_kept(path, type) if dump is None else _of_dump(path, type, dump)
        discovery = made(conf, self._host)
        follower = self._followers[type] = Follower(type, discovery, self._take_nodes, known)

        def look() -> bytes:
            lists = follower.known()
            return packed(lists) if dump is None else packed_dump(lists, dump.expire)

        self._files[type] = KeptFile(path, look)
        follower.start()
        for service, places in self._places.items():
            if service.type == type:
                for _ in places:
                    follower.hold(service)

    def _close_later(self, follower: Follower, file: KeptFile | None) -> None:
        async def close() -> None:
            await follower.close()
            if file is not None:
                await file.close()

        task = asyncio.get_running_loop().create_task(close(), name=f"close {follower.type}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # ---- services

    def _note(self, changes: Iterable[Change]) -> list[Service]:
        """The services that are named now and weren't before."""
        new: list[Service] = []
        for change in changes:
            found = _named_in(change.value)
            if found:
                item = change.kind, change.id
                before = self._held.get(item, frozenset())
                self._held[item] = before | found
                new += self._hold(item, found - before)
        return new

    def _hold(self, item: Item, found: Iterable[tuple[str, Service]]) -> list[Service]:
        """Those that nobody named before."""
        new = []
        for where, service in found:
            place = (*item, where)
            places = self._places.setdefault(service, set())
            if not places:
                new.append(service)
            places.add(place)
            follower = self._followers.get(service.type)
            if follower is not None:
                follower.hold(service)
            self._call(service, place, self.nodes(service))
        return new

    def _let_go(self, item: Item, gone: Iterable[tuple[str, Service]], left: Mapping[str, Service]) -> None:
        """`left`: what the item names, by where."""
        for where, service in gone:
            place = (*item, where)
            places = self._places[service]
            places.discard(place)
            follower = self._followers.get(service.type)
            if follower is not None:
                follower.let_go(service)
            if not places:
                del self._places[service]
            self._call(service, place, self.nodes(left[where]) if where in left else None)

    def _asked(self, service: Service) -> asyncio.Event | None:
        follower = self._followers.get(service.type)
        waits = [] if follower is None else follower.asked([service])
        return waits[0] if waits else None

    def _take_nodes(self, lists: Mapping[Service, Nodes]) -> None:
        """What a follower has found."""
        for service, nodes in lists.items():
            self._changed[service] = nodes
            if (file := self._files.get(service.type)) is not None:
                file.changed()
            for place in self._places.get(service, ()):
                self._call(service, place, nodes)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_S, self._tell_now)

    def _tell_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        changed, self._changed = self._changed, {}
        if changed:
            self._tell(changed)

    def _call(self, service: Service, place: Place, nodes: Nodes | None) -> None:
        """An observer that fails holds up neither the others nor whoever told."""
        key = upstream_key(place)
        self._mistakes.pop(key, None)
        for observer in self.on_nodes:
            try:
                observer(key, nodes)
            except Exception as error:
                log.exception("%s: internal error while the nodes of %s were passed on", key, service)
                if len(self._mistakes) < MOST_TROUBLES:
                    self._mistakes[key] = service.type, f"internal error: {type(error).__name__}: {error}"


def _named_in(value: Any) -> frozenset[tuple[str, Service]]:
    """(where, service). Walking through 100,000 values would take a second; to write them as JSON takes a tenth."""
    if value is None:
        return frozenset()
    try:
        if MENTIONED not in orjson.dumps(value):
            return frozenset()
    except TypeError:  # no JSON: refused by whoever uses it
        return frozenset()
    return frozenset(services_in(value))


def _of_dump(path: Path, type: str, dump: Any) -> Lists:
    if not dump.load_on_init:
        return {}
    try:
        lists, written, _ = read_dump(path, type)
    except FileNotFoundError:
        return {}
    except Exception as error:  # whatever it holds, the gateway starts
        log.error("%s can't be used: %s", path, error)
        return {}
    if dump.expire and written + dump.expire < time.time():
        log.warning("%s isn't used: it is older than %g s", path, dump.expire)
        return {}
    return lists
