"""The supervisor: opens the sockets, keeps the store, starts and replaces workers, sends them what changed, answers for them.

It moves no traffic. Every worker gets every change with a generation number and says when it serves it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Protocol

from bascule.control.boot import Boot
from bascule.control.http_endpoints import Exporter, StatusServer, serve
from bascule.control.listening import Listening
from bascule.control.worker_slot import WorkerSlot
from bascule.engine.shared_counters import SharedCounters
from bascule.errors.config_error import ConfigError
from bascule.model.change import Change
from bascule.model.settings import Settings
from bascule.observe.metrics import Metrics

log = logging.getLogger("bascule.supervisor")

POLL_S = 0.1
COLLECT_S = 1.0
COLLECT_TIMEOUT_S = 2.0


class Loaded(Protocol):
    changes: list[Change]
    errors: tuple[ConfigError, ...]


class Store(Protocol):
    def load(self) -> Loaded: ...
    def poll(self) -> Loaded | None:
        """What changed since the last load or poll; None: nothing."""


class StartFailed(Exception):
    """The gateway can't start; `errors` are the configuration's, in strict mode."""

    def __init__(self, reason: str, errors: tuple[ConfigError, ...] = ()) -> None:
        super().__init__(reason)
        self.errors = errors


class Supervisor:
    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        version: str,
        workers: int,
        strict: bool,
        user_plugins: tuple[str, ...],
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._engine_settings = settings.engine(version)
        self._store = store
        self._version = version
        self._strict = strict
        self._user_plugins = user_plugins
        self._say = say
        self._resources: dict[tuple[str, str], Change] = {}
        self._store_errors: tuple[ConfigError, ...] = ()
        self._generation = 0
        self._reload_errors = 0
        self._metrics = Metrics()
        self._stats: dict[int, dict[str, Any]] = {}
        self._lost: dict[str, int] = {}
        self._collected: dict[int, asyncio.Event] = {}
        self._report: dict[str, Any] = {"refused": (), "counts": {}, "broken_global": None, "plugin_errors": {}, "unknown": ()}
        self._said: set[str] = set()
        self._stop = asyncio.Event()
        self._at_once = False
        self._first = asyncio.Event()
        self._counters = SharedCounters.create(settings.bascule.shared_counters * 64)
        self._listening = Listening(settings.addresses, workers, settings.bascule.listen_backlog)
        self._slots = [WorkerSlot(i, self._boot, self._fds, self._on_message) for i in range(workers)]
        self._tasks: list[asyncio.Task[None]] = []
        self._started = time.time()

    def _fds(self, worker: int) -> tuple[int, ...]:
        return (*self._listening.fds(worker), self._counters.fd)

    def _boot(self, worker: int) -> Boot:
        return Boot(
            worker_id=worker,
            settings=self._engine_settings,
            sockets=self._listening.of(worker),
            counters_fd=self._counters.fd,
            enabled=self._settings.plugins,
            user_plugins=self._user_plugins,
            plugin_attr=self._settings.attr,
            error_log=self._settings.nginx_config.error_log,
            generation=self._generation,
            changes=list(self._resources.values()),
        )

    # ---- life

    async def run(self) -> None:
        """Serves until a signal says stop. Raises StartFailed, ListenFailed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._on_stop_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload_signal)
        loop.add_signal_handler(signal.SIGUSR1, self._on_reopen_signal)
        runners = []
        try:
            loaded = self._store.load()
            self._take(loaded)
            status = self._settings.apisix.status
            server = StatusServer(self._not_ready, self.details)
            runner, status_port = await serve(server.app(), status.ip, status.port, "the status server")
            runners.append(runner)
            places = [*self._listening.addresses, f"status http://{status.ip}:{status_port}/status"]
            exporter = self._settings.plugin_attr.prometheus
            if exporter.enable_export_server:
                address = exporter.export_addr
                app = Exporter(exporter.export_uri, self.collect).app()
                runner, port = await serve(app, address.ip, address.port, "the metrics server")
                runners.append(runner)
                places.append(f"metrics http://{address.ip}:{port}{exporter.export_uri}")
            for slot in self._slots:
                self._tasks.append(loop.create_task(slot.run(), name=f"worker {slot.worker_id}"))
            await self._wait_first()
            if not self._stop.is_set():
                self._say(f"ready {' '.join(places)} workers={len(self._slots)} generation={self._generation}")
                loop_tasks = [
                    loop.create_task(self._watch(), name="watch the store"),
                    loop.create_task(self._collect_often(), name="collect metrics"),
                ]
                await self._stop.wait()
                for task in loop_tasks:
                    task.cancel()
                await asyncio.gather(*loop_tasks, return_exceptions=True)
            await self._stop_workers()
        finally:
            for slot in self._slots:
                slot.kill()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=5)
            for runner in runners:
                await runner.cleanup()
            self._listening.close()

    async def _wait_first(self) -> None:
        """Until every worker serves; in strict mode any error ends the start."""
        waiting = asyncio.create_task(self._stop.wait())
        ready = asyncio.create_task(self._first.wait())
        try:
            while True:
                await asyncio.wait({waiting, ready}, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done() or ready.done():
                    break
                for slot in self._slots:
                    if slot.restarts >= 5:
                        raise StartFailed(f"worker {slot.worker_id} ends as soon as it starts ({slot.last_exit}); see the log above")
        finally:
            waiting.cancel()
            ready.cancel()
        errors = self._all_errors()
        if self._strict and (errors or self._report["plugin_errors"] or self._report["unknown"]):
            raise StartFailed(f"{len(errors)} errors in the configuration, and --strict", errors)

    async def _stop_workers(self) -> None:
        limit_s = 0.0 if self._at_once else self._settings.nginx_config.worker_shutdown_timeout
        log.info("stopping: draining for at most %.0f s", limit_s)
        for slot in self._slots:
            slot.drain(limit_s)
        deadline = time.monotonic() + limit_s + 5
        while self._tasks and time.monotonic() < deadline and not self._at_once:
            done, _ = await asyncio.wait(self._tasks, timeout=0.2)
            if len(done) == len(self._tasks):
                return

    def _on_stop_signal(self) -> None:
        if self._stop.is_set():
            self._at_once = True
        self._stop.set()

    def _on_reload_signal(self) -> None:
        log.info("SIGHUP: reading the resources and the plugins anew")
        self._generation += 1
        for slot in self._slots:
            slot.send("reload_plugins", self._generation)

    def _on_reopen_signal(self) -> None:
        for slot in self._slots:
            slot.send("reopen")

    # ---- configuration

    def _take(self, loaded: Loaded) -> None:
        self._store_errors = loaded.errors
        for error in loaded.errors:
            self._tell(error)
        for change in loaded.changes:
            if change.value is None:
                self._resources.pop((change.kind, change.id), None)
            else:
                self._resources[change.kind, change.id] = change

    async def _watch(self) -> None:
        """Sends what changes in the store to every worker; looks again after POLL_S."""
        plugin_stamps = self._plugin_stamps()
        while True:
            await asyncio.sleep(POLL_S)
            loaded = self._store.poll()
            if loaded is not None:
                self._take(loaded)
                self._generation += 1
                for slot in self._slots:
                    slot.send("changes", self._generation, loaded.changes)
            stamps = self._plugin_stamps()
            if stamps != plugin_stamps:
                plugin_stamps = stamps
                log.info("a user's plugin changed: loading it anew")
                self._on_reload_signal()

    def _plugin_stamps(self) -> tuple[tuple[int, int] | None, ...]:
        """When each user's plugin file was changed."""

        def stamp(path: str) -> tuple[int, int] | None:
            try:
                found = os.stat(path)
            except OSError:
                return None
            return found.st_mtime_ns, found.st_ino

        return tuple(stamp(source) for source in self._user_plugins if source.endswith(".py"))

    def _tell(self, error: ConfigError | str) -> None:
        """Logs an error of the configuration once, however many workers report it."""
        text = str(error)
        if text not in self._said:
            self._said.add(text)
            log.error("%s", text)

    def _all_errors(self) -> tuple[ConfigError, ...]:
        return (*self._store_errors, *self._report["refused"])

    # ---- what workers say

    def _on_message(self, slot: WorkerSlot, message: tuple[Any, ...]) -> None:
        kind = message[0]
        if kind in ("ready", "applied"):
            _, generation, errors, refused, counts, broken, plugin_errors, unknown = message
            slot.generation = generation
            self._report = {
                "refused": refused,
                "counts": counts,
                "broken_global": broken,
                "plugin_errors": plugin_errors,
                "unknown": unknown,
            }
            if errors and slot.worker_id == 0:
                self._reload_errors += 1
            self._said &= {str(e) for e in self._all_errors()}  # a fault that comes back is said again
            for error in errors:
                self._tell(error)
            for source, reason in plugin_errors.items():
                self._tell(f"plugin code {source}: {reason}")
            for name in unknown:
                self._tell(f"config.yaml: plugins: there is no plugin {name!r}")
            if kind == "ready":
                slot.ready = True
                if slot.generation < self._generation:
                    # It was told at its start; what has changed since then it gets whole.
                    slot.send("changes", self._generation, list(self._resources.values()))
                if all(s.ready for s in self._slots):
                    self._first.set()
        elif kind in ("metrics", "drained"):
            delta, stats = message[-2:]
            self._metrics.merge(delta, str(slot.worker_id))
            self._stats[slot.worker_id] = stats
            waiting = self._collected.get(slot.worker_id)
            if waiting is not None:
                waiting.set()

    def _not_ready(self) -> str | None:
        for slot in self._slots:
            if not slot.ready:
                return f"worker {slot.worker_id} has not received the configuration"
        return None

    # ---- metrics and status

    async def _collect_often(self) -> None:
        while True:
            await asyncio.sleep(COLLECT_S)
            for slot in self._slots:
                slot.send("collect", 0)

    async def collect(self) -> bytes:
        """Asks every worker for its latest numbers; the text for Prometheus."""
        waits = []
        for slot in self._slots:
            if slot.ready:
                event = self._collected[slot.worker_id] = asyncio.Event()
                slot.send("collect", 1)
                waits.append(asyncio.create_task(event.wait()))
        if waits:
            _, late = await asyncio.wait(waits, timeout=COLLECT_TIMEOUT_S)
            for task in late:
                task.cancel()
        self._own_metrics()
        return self._metrics.render()

    def _own_metrics(self) -> None:
        def gauge(name: str, text: str, value: float) -> None:
            self._metrics.gauge(name, text).child(()).set(value)

        stats = list(self._stats.values())
        prefix = str((self._settings.attr.get("prometheus") or {}).get("metric_prefix", "apisix_"))
        connections = self._metrics.gauge(
            f"{prefix}nginx_http_current_connections", "Number of HTTP connections", ("state",)
        )
        active = sum(s["active_connections"] for s in stats)
        busy = sum(s["exchanges"] for s in stats)
        accepted = sum(s["accepted"] for s in stats)
        for state, value in (
            ("active", active),
            ("accepted", accepted),
            ("handled", accepted),
            ("total", sum(s["requests"] for s in stats)),
            ("reading", 0),
            ("writing", busy),
            ("waiting", max(0, active - busy)),
        ):
            connections.child((state,)).set(value)
        gauge(f"{prefix}http_requests_total", "The total number of client requests", sum(s["requests"] for s in stats))
        gauge(f"{prefix}etcd_reachable", "Whether the configuration store can be read", 1)
        self._metrics.gauge(f"{prefix}node_info", "Info of the gateway node", ("hostname",)).child((os.uname().nodename,)).set(1)
        gauge("bascule_workers", "Workers that serve", sum(s.ready for s in self._slots))
        gauge("bascule_worker_restarts", "Workers started again since the start", sum(s.restarts for s in self._slots))
        gauge("bascule_config_generation", "Number of the present configuration", self._generation)
        gauge("bascule_config_refused", "Resources, or parts of them, that are refused", len(self._all_errors()))
        gauge("bascule_config_errors", "Changes that brought errors since the start", self._reload_errors)
        gauge("bascule_upstream_failures", "Tries at an upstream that failed", sum(s["upstream_failures"] for s in stats))
        gauge("bascule_upstream_retries", "Tries that were repeated", sum(s["retries"] for s in stats))
        gauge("bascule_refused_heads", "Requests whose head was refused", sum(s["refused_heads"] for s in stats))

    def details(self) -> dict[str, Any]:
        """What `bascule status` and the tests look at."""
        return {
            "version": self._version,
            "generation": min((s.generation if s.ready else 0 for s in self._slots), default=0),
            "latest_generation": self._generation,
            "uptime_s": round(time.time() - self._started, 1),
            "workers": [s.describe() for s in self._slots],
            "refused": [
                {"kind": e.kind, "id": e.id, "path": e.path, "message": e.message, "file": e.file, "line": e.line}
                for e in self._all_errors()
            ],
            "broken_global": self._report["broken_global"],
            "plugin_errors": self._report["plugin_errors"],
            "counts": self._report["counts"],
            "listening": self._listening.addresses,
        }
