"""A worker process: `main`, with a descriptor as the argument. Serves; the supervisor tells it the configuration.

When the channel ends the supervisor is gone: the worker serves on until another one does, for some seconds at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from bascule.control.boot import Boot, Socket
from bascule.control.channel import Channel
from bascule.control.configuration import unpack
from bascule.control.garbage import Garbage
from bascule.control.health.reporter import HealthReporter
from bascule.control.logs import set_up
from bascule.control.orphans import SERVE_ON_S, mark_serving, wait_for_successor
from bascule.engine.in_flight import InFlight
from bascule.engine.live_trace import open_trace
from bascule.engine.load_table import LoadTable
from bascule.engine.log_writer import LogWriter
from bascule.engine.server import Engine
from bascule.engine.shared_counters import SharedCounters
from bascule.engine.sticky import sticky_key
from bascule.model.upstream import KeepalivePool
from bascule.net.dns import Resolver
from bascule.net.loop import new_loop
from bascule.net.session_cache import SessionCache
from bascule.net.syn_filter import turn_away
from bascule.observe.metrics import Metrics
from bascule.plugin.registry import Registry
from bascule.snapshot.applied import Applied
from bascule.snapshot.discovered import Discovered
from bascule.snapshot.references import with_secrets
from bascule.snapshot.tables import Tables
from bascule.snapshot.upstream_compiler import Served

if TYPE_CHECKING:
    from bascule.engine.http3_server import Http3Server

log = logging.getLogger("bascule.worker")

ORPHAN_DRAIN_S = 5.0


class Worker:
    def __init__(self, channel: Channel, boot: Boot, loop: asyncio.AbstractEventLoop, poller: Any) -> None:
        self._channel = channel
        self._loop = loop
        self._settings = boot.settings
        self._upgrade_address = boot.upgrade_address
        self._supervisor_pid = boot.supervisor_pid
        self._metrics = Metrics()
        self._writer: LogWriter | None = None
        if boot.settings.access_log_enabled:
            self._writer = LogWriter(boot.settings.access_log_path)  # raises OSError
        self._engine = Engine(
            poller=poller,
            loop=loop,
            settings=boot.settings,
            counters=SharedCounters.attach(boot.counters_fd),
            loads=LoadTable.attach(boot.loads_fd),
            in_flight=InFlight.attach(boot.in_flight_fd),
            metrics=self._metrics,
            access_log=self._writer,
            worker_id=boot.worker_id,
            plugin_attr=boot.plugin_attr,
            ticket_secret=boot.ticket_secret,
            sticky_key=sticky_key(boot.settings.sticky_secret, boot.debug_key),
            tls_sessions=SessionCache(boot.sessions_fd),
        )
        self._resolver = Resolver(
            loop,
            boot.settings.dns_servers,
            valid_s=boot.settings.dns_valid_s,
            timeout_s=boot.settings.resolver_timeout_s,
            ipv6=boot.settings.enable_ipv6,
            search=boot.settings.dns_search,
        )
        self._engine.resolver = self._resolver
        self._engine.open_trace = partial(open_trace, boot.debug_key)
        self._secrets = dict(boot.secrets)
        self._discovered = Discovered(boot.discovered)
        self._registry = Registry(boot.enabled, boot.user_plugins)
        self._tables = Tables(
            self._registry,
            self._engine.make_host,
            boot.settings.router_mode,
            delete_uri_tail_slash=boot.settings.delete_uri_tail_slash,
            resolve=with_secrets(os.environ, self._secrets),
            served=Served(
                discovery=boot.settings.discovery,
                discovered=self._discovered,
                pool=KeepalivePool(
                    size=boot.settings.upstream_keepalive_size,
                    idle_timeout=boot.settings.upstream_keepalive_idle_s,
                    requests=boot.settings.upstream_keepalive_requests,
                ),
            ),
        )
        errors: tuple[Any, ...] = ()
        for step in boot.steps:
            errors = self._tables.apply([unpack(change) for change in step]).errors
        boot.steps = ()
        self._engine.use_tables(self._tables)
        self._engine.staples_changed(dict(boot.staples))
        self._engine.use_challenges(boot.challenges.answers, boot.challenges.certificates)
        self._health: HealthReporter | None = None
        if boot.health is not None:
            send = partial(channel.send, "health")
            self._health = HealthReporter(loop, self._engine.node_states, send, boot.health)
            self._engine.on_plan.append(self._health.watch)
        self._garbage = Garbage()
        self._sockets = boot.sockets
        self._http3: Http3Server | None = None
        self._mark: socket.socket | None = None
        self._flushing = loop.create_task(self._flush_logs(), name="flush access log")
        self._report("loaded", boot.generation, errors)

    def _serve(self) -> None:
        """Only now, when nothing that was acknowledged meanwhile is missing: it came before the word to serve."""
        if os.getppid() != self._supervisor_pid:
            return  # it was killed: what it said last isn't to be begun any more
        self._mark = mark_serving(self._upgrade_address)
        for one in self._sockets:
            if one.udp:
                self._speak_http3(one)
                continue
            self._engine.listen(
                one.fd,
                port=one.port,
                unix=one.unix,
                proxy_protocol=one.proxy_protocol,
                tls=one.tls,
                http2=one.http2,
                alt_svc=f'Alt-Svc: h3=":{one.port}"; ma=86400\r\n'.encode() if one.http3 else None,
            )
        self._report("ready", self._generation, ())

    def _speak_http3(self, one: Socket) -> None:
        if self._http3 is None:
            # Imported here: its library is an extra, and costs memory.
            from bascule.engine.http3_server import Http3Server

            self._http3 = Http3Server(self._engine, self._loop)
        self._http3.listen(one.fd, one.port)

    def _refusing(self) -> None:
        """No request begins here any more."""
        if self._mark is not None:
            self._mark.close()
            self._mark = None
        self._channel.send("refusing")

    def _report(self, what: str, generation: int, errors: tuple[Any, ...]) -> None:
        self._generation = generation
        self._channel.send(
            what,
            generation,
            errors,
            self._tables.refused,
            dict(self._tables.counts),
            self._tables.broken_global,
            dict(self._registry.errors),
            self._registry.unknown,
        )

    async def _flush_logs(self) -> None:
        while True:
            await asyncio.sleep(max(0.01, self._settings.access_log_flush_s))
            self._engine.flush_access_log()

    async def run(self) -> None:
        while True:
            try:
                message = await self._channel.receive()
            except EOFError:
                await self._outlive()
                return
            if message[0] == "drain":
                await self._drain(message[1])
                return
            self._take(message)
            await asyncio.sleep(0)  # the next one may be here already, but so may requests

    def _take(self, message: tuple[Any, ...]) -> None:
        kind = message[0]
        if kind == "changes":
            _, generation, changes = message
            applied = self._tables.apply([unpack(change) for change in changes])
            self._applied(generation, applied)
        elif kind == "secrets":
            _, generation, secrets = message
            changed = {ref for ref, answer in secrets.items() if self._secrets.get(ref) != answer}
            self._secrets.update(secrets)
            applied = self._tables.refresh_references(changed)
            self._applied(generation, applied)
        elif kind == "nodes":
            _, generation, nodes = message
            self._applied(generation, self._tables.refresh_nodes(self._discovered.update(nodes)))
        elif kind == "staples":
            self._engine.staples_changed(message[1])
        elif kind == "challenges":
            _, generation, challenges = message
            self._engine.use_challenges(challenges.answers, challenges.certificates)
            self._report("applied", generation, ())
        elif kind == "health":
            if self._health is not None:
                self._health.take(message[1])
        elif kind == "serve":
            self._serve()
        elif kind == "gc":
            self._garbage.collect()
        elif kind == "reload_plugins":
            _, generation = message
            self._registry.reload()
            applied = self._tables.refresh()
            self._applied(generation, applied)
        elif kind == "collect":
            self._channel.send("metrics", message[1], self._metrics.delta(), self._engine.stats())
            self._garbage.look()
        elif kind == "explain":
            self._channel.send("explained", message[1], self._explain(message[2]))
        elif kind == "reopen" and self._writer is not None:
            self._writer.reopen()

    def _applied(self, generation: int, applied: Applied) -> None:
        self._engine.tables_changed()
        self._report("applied", generation, applied.errors)
        self._garbage.settle()

    async def _drain(self, timeout_s: float) -> None:
        """What changes meanwhile is in effect here too: there may be late requests, and tunnels go on."""
        taking = self._loop.create_task(self._take_on(), name="follow the configuration")
        await self.stop(timeout_s)
        taking.cancel()
        self._channel.send("drained", self._metrics.delta(), self._engine.stats())
        await self._channel.flush()

    async def _take_on(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                self._take(await self._channel.receive())
                await asyncio.sleep(0)

    def _explain(self, asked: dict[str, Any]) -> dict[str, Any]:
        from bascule.snapshot.explanation import NotARequest, explain  # which few workers are ever asked for

        settings = self._settings
        try:
            return explain(self._tables, asked, (settings.match_uri_encoded_slash, settings.normalize_uri_like_servlet))
        except NotARequest as error:
            return {"error_msg": str(error)}

    async def _outlive(self) -> None:
        """The supervisor was killed. Clients needn't notice: serves on until a new one does, though not for long."""
        if self._mark is None:
            return  # it never served
        log.error("the supervisor is gone: serving on until another one does, for at most %.0f s", SERVE_ON_S)
        theirs = await wait_for_successor(self._upgrade_address)
        log.warning("draining: %s", "no other gateway came" if theirs is None else "another gateway serves")
        for one in self._sockets:
            if theirs is None or os.fstat(one.fd).st_ino not in theirs:
                turn_away(one.fd)
        await self.stop(ORPHAN_DRAIN_S)

    async def stop(self, timeout_s: float) -> None:
        self._flushing.cancel()
        if self._http3 is not None:
            self._http3.drain()
        await self._engine.drain(timeout_s, self._refusing)
        if self._http3 is not None:
            self._http3.close()
        await self._engine.hosts.close()
        await self._resolver.close()
        if self._writer is not None:
            self._writer.close()


async def _serve(fd: int, loop: asyncio.AbstractEventLoop, poller: Any) -> None:
    channel = await Channel.open(socket.socket(fileno=fd))
    (boot,) = await channel.receive()
    set_up(boot.settings.error_log_level, boot.error_log, f"worker {boot.worker_id}")
    if boot.folder not in sys.path:
        sys.path.append(boot.folder)
    if boot.cpu is not None:
        os.sched_setaffinity(0, {boot.cpu})
    try:
        worker = Worker(channel, boot, loop, poller)
    except OSError as error:
        log.critical("cannot start: %s: %s", error.filename or error, (error.strerror or "").lower())
        channel.close()
        raise SystemExit(1) from None
    await worker.run()
    channel.close()


def main() -> None:
    # Signals that a terminal or a service manager sends to the whole group are the supervisor's to act on.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    loop, poller = new_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_serve(int(sys.argv[1]), loop, poller))
    except EOFError:
        sys.exit(1)
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.close()
