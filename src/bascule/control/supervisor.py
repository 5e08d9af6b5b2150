"""The supervisor: opens the sockets, keeps the store, starts and replaces workers, tells them what changed.

It moves no traffic. Every worker gets every change with a generation number and says when it serves it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bascule.control.announcer import Announcer
from bascule.control.boot import Boot
from bascule.control.collector import Collector
from bascule.control.configuration import Configuration
from bascule.control.discovery.keeper import DiscoveryKeeper
from bascule.control.estate import Estate
from bascule.control.file_limit import raise_file_limit
from bascule.control.fleet import Fleet, StartFailed
from bascule.control.gateway_metrics import set_gateway_metrics
from bascule.control.handover import HandoverServer, Offer, Taker
from bascule.control.health.keeper import HealthKeeper
from bascule.control.http_service import HttpService
from bascule.control.keeper import Keeper, left_behind
from bascule.control.launch import Launch
from bascule.control.listening import ListenFailed
from bascule.control.logs import LEVELS
from bascule.control.obtaining import Obtaining
from bascule.control.orphans import orphans_gone, there_are_orphans
from bascule.control.outliers import TOLD, outliers
from bascule.control.questions import Questions
from bascule.control.report import Report
from bascule.control.secret_keeper import Answer, SecretKeeper
from bascule.control.service_manager import tell_service_manager
from bascule.control.source import Source, Step
from bascule.control.stapler import Stapler
from bascule.control.worker_slot import WorkerSlot
from bascule.engine.shared_counters import SharedCounters
from bascule.errors.config_error import ConfigRefused
from bascule.model.change import Change
from bascule.model.settings import Settings
from bascule.net.session_cache import SessionCache

log = logging.getLogger("bascule.supervisor")

SECRETS_AT_START_S = 3.0  # secret managers get so long before workers serve without what they didn't say
SECRETS_OF_CHANGE_S = 1.0  # and so long before a change that needs something new of them is sent
KEPT_AT_START_S = 2.0  # the process that keeps the sockets needs some milliseconds to start
LOOK_S = 0.1  # at the files of users' plugins


class Supervisor:
    """`read_launch` reads config.yaml again (SIGHUP); it may raise ConfigRefused or OSError."""

    def __init__(
        self,
        launch: Launch,
        source: Source,
        *,
        version: str,
        strict: bool,
        say: Callable[[str], None],
        read_launch: Callable[[], Launch],
        upgrade_address: str,
        debug_key: bytes,
    ) -> None:
        self._launch = launch
        self._source = source
        self._version = version
        self._strict = strict
        self._say = say
        self._read_launch = read_launch
        self._upgrade_address = upgrade_address
        self._debug_key = debug_key
        self._ticket_secret = os.urandom(32)  # what TLS session tickets are sealed with, of all workers
        self._handed = False
        self._replacing = asyncio.Lock()
        self._enabled = launch.settings.plugins
        self._secrets = SecretKeeper(self._tell_secrets, os.environ, refresh_s=launch.settings.bascule.secret_refresh)
        self.discovery = DiscoveryKeeper(lambda nodes: self._announcer.tell("nodes", nodes), launch, os.environ)
        self._stapler = Stapler(self._tell_staples, self._secrets.resolve)
        self._report = Report()
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()
        self._reload = asyncio.Event()
        counters = SharedCounters.create(launch.settings.bascule.shared_counters * 64)
        self._tls_sessions = SessionCache.create()
        self._estate = Estate(version, counters, os.environ.pop("NOTIFY_SOCKET", None))
        self._listening = self._estate.listening
        self._keeper = Keeper(upgrade_address, self._estate.holdings)
        self._fleet = Fleet(self._boot, self._fds, self._on_message, self._on_end)
        self._announcer = Announcer(self._fleet, lambda: self.workers)
        self._acme = Obtaining(launch, self._announcer, version)
        self._collector = Collector(self._fleet)
        tell = partial(self._fleet.send, "health")
        self.health = HealthKeeper(launch.settings, self._secrets.resolve, tell, self._estate.health)
        self.discovery.on_nodes.append(self.health.discovered)
        self.questions = Questions(self._fleet)
        self._started = time.time()

    @property
    def settings(self) -> Settings:
        return self._launch.settings

    @property
    def configuration(self) -> Configuration:
        """Every resource, as workers are told."""
        return self._announcer.configuration

    @property
    def workers(self) -> int:
        return self._launch.workers if self.settings.serves_traffic else 0

    def add_service(self, service: HttpService) -> None:
        """One more HTTP server of this process, started once the workers serve."""
        self._estate.services[service.name] = service

    async def applied(self, revision: int) -> None:
        """Until every worker serves this revision of the store."""
        await self._announcer.applied(revision)

    def _fds(self, worker: int) -> tuple[int, ...]:
        return (
            *self._listening.fds(worker),
            self._estate.counters.fd,
            self._estate.loads.fd,
            self._estate.in_flight.fd,
            self._tls_sessions.fd,
        )

    def _boot(self, worker: int) -> Boot:
        settings = self.settings
        cpus = sorted(os.sched_getaffinity(0))
        return Boot(
            worker_id=worker,
            settings=self._launch.engine(self._version),
            sockets=self._listening.of(worker),
            counters_fd=self._estate.counters.fd,
            loads_fd=self._estate.loads.fd,
            in_flight_fd=self._estate.in_flight.fd,
            sessions_fd=self._tls_sessions.fd,
            enabled=self._enabled,
            user_plugins=self._launch.user_plugins,
            folder=self._launch.folder,
            plugin_attr=settings.attr,
            error_log=self._launch.error_log,
            cpu=cpus[worker % len(cpus)] if settings.nginx_config.enable_cpu_affinity else None,
            supervisor_pid=os.getpid(),
            upgrade_address=self._upgrade_address,
            debug_key=self._debug_key,
            ticket_secret=self._ticket_secret,
            generation=self._announcer.generation,
            steps=self.configuration.steps(),
            secrets=self._secrets.answers,
            staples=self._stapler.answers,
            challenges=self._acme.challenges,
            discovered=self.discovery.answers,
            health=self.health.states,
        )

    # ---- life

    async def run(self, taker: Taker | None = None) -> None:
        """Serves until a signal says stop, or a newer gateway took over. `taker`: the older one's sockets are used.
        Raises StartFailed, ListenFailed, StoreUnavailable, HandoverFailed, and ConfigRefused in strict mode."""
        self._catch_signals()
        nginx = self.settings.nginx_config
        raise_file_limit(nginx.worker_rlimit_nofile, asked="worker_rlimit_nofile" in nginx.model_fields_set)
        left: Sequence[Taker] = ()
        try:
            self._add_own_services()
            if taker is not None:
                self._estate.adopt(taker.offer)
                await asyncio.to_thread(taker.wait_released)
            else:
                left = await asyncio.to_thread(left_behind, self._upgrade_address)
                self._adopt_left(left)
            orphans = there_are_orphans(self._upgrade_address)
            if self.workers:
                self._listening.open(
                    self.settings.addresses,
                    self.workers,
                    self.settings.bascule.listen_backlog,
                    beside_orphans=orphans,
                )
            self._keeper.start()
            await self._load()
            await self._fleet.launch(self.workers)
            if taker is None:
                await self._start_services("status", "metrics", "control")
            await self._fleet.start(self._stop)
            await self._judge()
            if taker is not None:
                self._listening.close_retired()
                await asyncio.to_thread(taker.ready)
            handing = self._listen_for_newer()
            if not await orphans_gone(self._upgrade_address):
                log.error("workers of a gateway that was killed still serve their configuration")
            for keeper in left:
                keeper.ready()
            self._listening.settle()
            await self._start_services()
            if not await self._keeper.holds(KEPT_AT_START_S):
                log.warning("if this process is killed, nobody keeps its listening sockets for the next one yet")
            if not self._stop.is_set():
                places = [*self._listening.addresses, *(service.told for service in self._estate.services.values())]
                generation = self._announcer.generation
                self._say(f"ready {' '.join(places)} workers={self.workers} generation={generation}")
                tell_service_manager(self._estate.notify)
                await self._go_on(handing)
            limit_s = self.settings.nginx_config.worker_shutdown_timeout
            log.info("stopping: draining for at most %.0f s", limit_s)
            await self._keeper.end()
            if self._handed:
                self._listening.leave()
            else:
                self._listening.close()  # workers take what is queued; then new connections are refused
            for service in self._estate.services.values():
                if service.name not in ("status", "metrics") or self._handed:
                    await service.stop()
            await self._fleet.stop(limit_s, self._at_once)
        finally:
            for keeper in left:
                keeper.close()
            await self._keeper.end()
            await self._fleet.kill()
            for service in self._estate.services.values():
                await service.stop()
            await self._source.close()
            await self._secrets.close()
            await self.discovery.close()
            await self._acme.stop()
            await self.health.stop()
            if self._handed:
                self._listening.leave()
            else:
                self._listening.close()
            self._ignore_signals()

    async def _load(self) -> None:
        step = await self._source.load()
        if step.plugins is not None:
            self._enabled = step.plugins
        await self._fetch_secrets(step.changes, SECRETS_AT_START_S)
        self._take(step)
        if self.workers:
            self._acme.load()

    async def _start_services(self, *names: str) -> None:
        """Those of these names; without any, all that don't serve yet."""
        for service in self._estate.services.values():
            if service.runs or (names and service.name not in names):
                continue
            await service.start()
        self._keeper.changed()

    # ---- a newer gateway takes over

    def _offer(self) -> Offer:
        return self._estate.offer(self._launch.workers_option)

    def _adopt_left(self, left: Sequence[Taker]) -> None:
        """What keepers of gateways that were killed hold."""
        for keeper in left:
            log.warning(
                "process %s was killed: what waits in its sockets is served here", keeper.offer.facts.get("pid")
            )
            self._estate.adopt(keeper.offer)

    async def _release(self) -> None:
        """For a newer gateway: no change is taken here any more."""
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        await self._acme.stop()
        for service in self._estate.services.values():
            if service.name not in ("status", "metrics"):
                await service.pause()
        await self._source.close()

    async def _resume(self) -> None:
        """The newer gateway failed."""
        step = await self._source.load()
        await self._fetch_secrets(step.changes, SECRETS_OF_CHANGE_S)
        self._take(step)
        await self._start_services()
        if self.workers:
            self._acme.start()
        self._following = asyncio.get_running_loop().create_task(self._follow(), name="follow the configuration")

    def _hand_over(self) -> None:
        log.warning("a newer gateway serves: draining")
        self._handed = True
        self._stop.set()

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._on_stop_signal)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        loop.add_signal_handler(signal.SIGUSR1, self._fleet.send, "reopen")

    @staticmethod
    def _ignore_signals() -> None:
        """All is over; a signal that comes now must not look like a crash."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _on_stop_signal(self) -> None:
        if self._stop.is_set():
            self._at_once.set()
        self._stop.set()

    def _add_own_services(self) -> None:
        status = self.settings.apisix.status
        services = [HttpService("status", "the status server", self._status_app, status.ip, status.port, "/status")]
        exporter = self.settings.plugin_attr.prometheus
        if exporter.enable_export_server:
            address = exporter.export_addr
            path = exporter.export_uri
            services.append(
                HttpService("metrics", "the metrics server", self._metrics_app, address.ip, address.port, path)
            )
        self._estate.services = {service.name: service for service in services} | self._estate.services

    def _status_app(self) -> Any:
        from bascule.control.http_endpoints import StatusServer

        return StatusServer(self._not_ready, self.details).app()

    def _metrics_app(self) -> Any:
        from bascule.control.http_endpoints import Exporter

        return Exporter(self.settings.plugin_attr.prometheus.export_uri, self.collect).app()

    async def _judge(self) -> None:
        """In strict mode, any error of the configuration ends the start."""
        await self._locate()
        faults = self._report.all_faults()
        if self._strict and faults:
            raise ConfigRefused(faults)
        self._report.tell()

    def _listen_for_newer(self) -> asyncio.Task[None]:
        """Says to orphans that this gateway serves, and hands over to a newer one that asks."""
        server = HandoverServer(self._upgrade_address, self._offer, self._release, self._resume, self._hand_over)
        return asyncio.get_running_loop().create_task(server.run(), name="hand over to a newer gateway")

    async def _go_on(self, handing: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        self._following = loop.create_task(self._follow(), name="follow the configuration")
        if self.workers:
            self._acme.start()
        tasks = [
            loop.create_task(self._look_after_plugins(), name="watch users' plugins"),
            loop.create_task(self._collector.run(), name="collect metrics"),
            loop.create_task(self._stapler.run(), name="fetch OCSP responses"),
            handing,
        ]
        try:
            await self._stop.wait()
        finally:
            tasks.append(self._following)
            await self._acme.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ---- configuration

    def _take(self, step: Step) -> None:
        """One step of the configuration, sent to the workers that there are."""
        self._report.store = step.errors
        self._announcer.changes(step.changes)
        self._secrets.settle(step.changes, self.configuration.versions)
        self.discovery.settle(step.changes, self.configuration.versions)
        self._stapler.take(step.changes)
        self.health.take(step.changes)
        if step.errors:
            self._report.count(self._announcer.generation)
        self._announcer.reached(step.revision)

    async def _follow(self) -> None:
        """Sends what changes to every worker."""
        while True:
            try:
                step = await self._source.next()
                if step.changes or not step.revision or step.errors != self._report.store:
                    await self._fetch_secrets(step.changes, SECRETS_OF_CHANGE_S)
                    self._take(step)
                    self._report.tell()
                    await self._use_plugins(step.plugins)
                else:
                    self._announcer.reached(step.revision)  # nothing in it concerns workers
            except Exception:
                log.exception("internal error while taking a change of the configuration")
                await asyncio.sleep(LOOK_S)

    async def _fetch_secrets(self, changes: Sequence[Change], wait_s: float) -> None:
        if self.workers:
            await asyncio.gather(self._secrets.take(changes, wait_s), self.discovery.take(changes, wait_s))

    def _tell_secrets(self, answers: dict[str, Answer]) -> None:
        self._stapler.look_again()
        self._announcer.tell("secrets", answers)

    def _tell_staples(self, staples: dict[bytes, bytes | None]) -> None:
        self._fleet.send("staples", staples)

    async def _look_after_plugins(self) -> None:
        """Loads users' plugins anew when their files change; on SIGHUP config.yaml too."""
        stamps = _stamps(self._launch.user_plugins)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._reload.wait()
            try:
                if self._reload.is_set():
                    self._reload.clear()
                    async with self._replacing:
                        await self._read_again()
                    stamps = _stamps(self._launch.user_plugins)
                elif (now := _stamps(self._launch.user_plugins)) != stamps:
                    stamps = now
                    log.info("a user's plugin changed: loading it anew")
                    self.reload_plugins()
            except Exception:
                log.exception("internal error while reading config.yaml and plugins again")

    async def _read_again(self) -> None:
        """SIGHUP: users' plugins anew; config.yaml, and new workers if it says something else."""
        log.info("SIGHUP: reading config.yaml and users' plugins again")
        try:
            launch = self._read_launch().with_writable_logs()
        except ConfigRefused as refused:
            self._report.changes_with_errors += 1
            for error in refused.errors:
                log.error("%s", error)
            launch = self._launch
        except OSError as error:
            self._report.changes_with_errors += 1
            log.error("%s: %s", error.filename, (error.strerror or str(error)).lower())
            launch = self._launch
        if launch == self._launch:
            self.reload_plugins()
            return
        before, settings = self._launch, launch.settings
        for name in _fixed(before.settings, settings):
            log.warning("config.yaml: %s has changed; that takes effect at the next start", name)
        try:
            if self.workers:
                self._listening.open(settings.addresses, launch.workers, settings.bascule.listen_backlog)
        except ListenFailed as error:
            self._report.changes_with_errors += 1
            log.error("%s; config.yaml stays as it was", error)
            return
        if self._enabled == before.settings.plugins:
            self._enabled = settings.plugins
        self._launch = launch
        self._keeper.changed()
        launch.note_ignored()
        self.discovery.configure(settings.discovery, self.configuration.changes)
        logging.getLogger().setLevel(LEVELS[settings.nginx_config.error_log_level])
        log.warning("config.yaml has changed: replacing %d workers, one by one", self.workers)
        self._announcer.next_generation()
        try:
            await self._replace_workers()
        except StartFailed as error:
            self._report.changes_with_errors += 1
            log.error("%s; config.yaml stays as it was", error)
            self._launch = before
            self.discovery.configure(before.settings.discovery, self.configuration.changes)
            if self.workers:
                self._listening.open(before.settings.addresses, before.workers, before.settings.bascule.listen_backlog)
            self._keeper.changed()
            await self._replace_workers()
        self._listening.close_retired()
        if self.workers:
            await self._acme.use(self._launch)
        log.warning("listening on %s", " ".join(self._listening.addresses))

    async def _replace_workers(self) -> None:
        await self.health.use(self.settings, self.configuration.changes())
        await self._fleet.replace(
            self.workers, self.settings.nginx_config.worker_shutdown_timeout, self._listening.retire
        )

    async def reload(self) -> bool:
        """As SIGHUP, until it is done; false when something is refused."""
        before = self._report.changes_with_errors
        async with self._replacing:
            await self._read_again()
        return self._report.changes_with_errors == before

    def collect_garbage(self) -> None:
        """Here and in every worker."""
        gc.collect()
        self._fleet.send("gc")

    def reload_plugins(self) -> None:
        """Every worker imports users' changed plugins anew."""
        self._announcer.tell("reload_plugins")

    async def _use_plugins(self, listed: tuple[str, ...] | None) -> None:
        """`listed`: the resource file's own list of enabled plugins, which beats that of config.yaml."""
        enabled = self.settings.plugins if listed is None else listed
        if enabled != self._enabled:
            self._enabled = enabled
            log.warning("the list of plugins has changed: replacing %d workers, one by one", self.workers)
            self._announcer.next_generation()
            async with self._replacing:
                await self._replace_workers()

    async def _locate(self) -> None:
        """Gives the refused items' errors their lines."""
        refused = self._report.refused
        if refused:
            located = await asyncio.to_thread(self._source.locate, refused)
            if self._report.refused is refused:
                self._report.refused = located

    # ---- what workers say

    def _on_message(self, slot: WorkerSlot, message: tuple[Any, ...]) -> None:
        kind = message[0]
        if kind in ("loaded", "ready", "applied"):
            _, generation, errors, refused, counts, broken, plugin_errors, unknown = message
            slot.generation = generation
            if kind == "loaded":
                if generation < self._announcer.generation:
                    self._announcer.catch_up(slot)
                    slot.send("challenges", self._announcer.generation, self._acme.challenges)
                # From now on no change is in effect before this worker has it, too.
                slot.serving = True
                slot.send("serve")
            self._announcer.advance()
            report = self._report
            if errors:
                report.count(generation)
            self.configuration.settle(generation, refused)
            report.refused, report.counts, report.broken_global = refused, counts, broken
            report.plugin_errors, report.unknown_plugins = plugin_errors, unknown
            if kind == "ready":
                slot.ready.set()
            elif refused and all(other.generation == generation for other in self._fleet.slots):
                self._spawn_locate()
            else:
                report.tell()
        elif kind == "refusing":
            slot.serving = False
            self._announcer.advance()
        elif kind == "health":
            self.health.reported(message[1])
        elif kind == "explained":
            self.questions.answer(*message[1:])
        elif kind in ("metrics", "drained"):
            self._collector.take(slot, *message[-2:])

    def _spawn_locate(self) -> None:
        async def locate_and_tell() -> None:
            await self._locate()
            self._report.tell()

        self._locating = asyncio.get_running_loop().create_task(locate_and_tell(), name="locate errors")

    def _on_end(self, slot: WorkerSlot) -> None:
        self._collector.forget(slot)
        self._estate.sweep()
        self._announcer.advance()

    def _not_ready(self) -> str | None:
        slot = self._fleet.not_ready()
        if slot is not None or (not self._fleet.slots and self.workers):
            return f"worker {slot.worker_id if slot else 0} has not received the configuration"
        return None

    # ---- metrics and status

    async def collect(self) -> bytes:
        """Every worker's latest numbers, as text for Prometheus."""
        await self._collector.refresh()
        metrics = self._collector.metrics
        prefix = str((self.settings.attr.get("prometheus") or {}).get("metric_prefix", "apisix_"))
        set_gateway_metrics(
            metrics,
            self._fleet,
            prefix=prefix,
            generation=self._announcer.generation,
            refused=len(self._report.errors),
            reload_errors=self._report.changes_with_errors,
            store_ok=not self._report.store and self._source.trouble is None,
            evictions=self._estate.counters.evictions,
        )
        self._acme.set_metrics(metrics)
        self.discovery.set_metrics(metrics)
        self.health.set_metrics(metrics, prefix)
        return metrics.render()

    async def outliers(self) -> list[dict[str, Any]]:
        await self._collector.refresh()
        return outliers(self._collector.metrics)

    def details(self) -> dict[str, Any]:
        """What operators and the tests look at. `generation`: what every worker serves."""
        slots = self._fleet.slots
        return {
            "version": self._version,
            "pid": os.getpid(),
            "keeper": self._keeper.pid,
            "generation": min(
                (slot.generation if slot.ready.is_set() else 0 for slot in slots),
                default=0 if self.workers else self._announcer.generation,
            ),
            "latest_generation": self._announcer.generation,
            "uptime_s": round(time.time() - self._started, 1),
            "workers": [slot.describe() for slot in slots],
            "worker_restarts": self._fleet.restarts,
            "resources": len(self.configuration),
            "store": {"provider": self.settings.provider, "trouble": self._source.trouble},
            "secrets": self._secrets.details(),
            "discovery": self.discovery.details(),
            "ocsp": self._stapler.details(),
            "certificates": self._acme.details(),
            "health": self.health.details(),
            "outliers": outliers(self._collector.metrics)[:TOLD],
            **self._report.details(),
            "ignored": [str(key) for key in self.settings.ignored],
            "listening": self._listening.addresses,
            "services": [service.told for service in self._estate.services.values() if service.runs],
        }


def _stamps(user_plugins: tuple[str, ...]) -> tuple[tuple[int, int] | None, ...]:
    """When each user's plugin file was changed."""

    def stamp(path: str) -> tuple[int, int] | None:
        try:
            found = os.stat(path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    return tuple(stamp(source) for source in user_plugins if source.endswith(".py"))


def _fixed(before: Settings, after: Settings) -> list[str]:
    """Settings that have changed and that only a start can apply."""
    pairs = (
        ("apisix.status", before.apisix.status, after.apisix.status),
        ("plugin_attr.prometheus", before.plugin_attr.prometheus, after.plugin_attr.prometheus),
        ("deployment", before.deployment, after.deployment),
        ("apisix.control", before.apisix.control, after.apisix.control),
        ("apisix.data_encryption", before.apisix.data_encryption, after.apisix.data_encryption),
        ("bascule.store", before.bascule.store, after.bascule.store),
        ("bascule.shared_counters", before.bascule.shared_counters, after.bascule.shared_counters),
        ("nginx_config.error_log", before.nginx_config.error_log, after.nginx_config.error_log),
    )
    return [name for name, old, new in pairs if old != new]
