# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The engine of one worker: listeners, endpoints, plans, and the tables that requests are matched against."""

import asyncio
import email.utils
import logging
import time
from weakref import WeakValueDictionary

import cython
from cython.cimports.bascule.engine.access_log import AccessLog
from cython.cimports.bascule.engine.arrival import asked_host
from cython.cimports.bascule.engine.client import C_HEAD, Http1Client
from cython.cimports.bascule.engine.endpoint import Endpoint, UpstreamPlan
from cython.cimports.bascule.engine.exchange import Exchange
from cython.cimports.bascule.engine.http2_connection import Http2Connection
from cython.cimports.bascule.engine.http2_upstream import Http2Upstream
from cython.cimports.bascule.engine.http2_upstream_connection import Http2UpstreamConnection
from cython.cimports.bascule.engine.http2_upstream_session import start_http2
from cython.cimports.bascule.engine.load_shedding import LoadShedder, shed_class
from cython.cimports.bascule.engine.mirror import Mirror
from cython.cimports.bascule.engine.parties import DRAIN, DRAIN_LAST, Core, Relay, Upstream
from cython.cimports.bascule.engine.plan import ChainPlan, RoutePlan
from cython.cimports.bascule.engine.upgrade import cut_tunnel
from cython.cimports.bascule.engine.upstream import Http1Upstream
from cython.cimports.bascule.engine.websocket import WebsocketRelay
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.address import Address, format_host, port_of
from cython.cimports.bascule.net.cnet import errno
from cython.cimports.bascule.net.stream import SCRATCH, Stream
from cython.cimports.bascule.net.tls import Tls
from cython.cimports.bascule.net.tls_server import TlsServer
from cython.cimports.bascule.wire.http1 import M_DELETE, M_GET, M_HEAD, M_OPTIONS, M_PUT, M_TRACE
from cython.cimports.bascule.wire.target import TARGET_KEEP_ENCODED_SLASH, TARGET_SERVLET
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memcpy

from bascule.engine.in_flight import own_table
from bascule.engine.node_guards import NodeGuards
from bascule.engine.node_states import NodeStates
from bascule.engine.plan import chain_plan
from bascule.engine.plugin_host import Hosts
from bascule.engine.sticky import StickySessions
from bascule.engine.tls_servers import TlsClients, bare_host
from bascule.match.address import AddressSet
from bascule.net.tls_identity import TlsIdentity
from bascule.snapshot.certificates import staple_key

HTTP_1_1, HTTP_2 = b"\x08http/1.1", b"\x02h2"  # for ALPN
ACCEPT_ON_S = 0.2  # while draining: handshakes that have begun come to their end


@cython.cclass
class Listener(Handle):
    def __repr__(self):
        return f"<listener fd={self.fd} port={self.port}>"

    @cython.cfunc
    def on_event(self, events: cython.uint) -> cython.int:
        self.accept_some()
        return 0

    @cython.cfunc
    def accept_some(self) -> cython.int:
        """Takes some of the queue; 0: nothing is left in it."""
        engine: Engine = self.engine
        c: Http1Client
        a: Address
        fd: cython.int
        one: cython.int = 1
        i: cython.int
        # A flood is taken in at once where that takes nothing from other workers: what waits in the kernel's queue is
        # seen by nobody.
        for i in range(128 if self.is_unix else 1024):
            a.size = cython.sizeof(a.storage)
            fd = cnet.accept4(
                self.fd,
                cython.cast(cython.pointer(cnet.sockaddr), cython.address(a.storage)),
                cython.address(a.size),
                cnet.SOCK_NONBLOCK | cnet.SOCK_CLOEXEC,
            )
            if fd < 0:
                return 0  # nothing left, or out of descriptors: level-triggered, so it is tried again
            if engine.active >= engine.max_connections:
                engine.turned_away += 1
                cnet.close(fd)
                continue
            if not self.is_unix:
                cnet.setsockopt(fd, cnet.IPPROTO_TCP, cnet.TCP_NODELAY, cython.address(one), 4)
            c = Http1Client()
            c.fd = fd
            c.core = engine
            c.http2 = self.http2
            c.alt_svc = self.alt_svc
            if self.tls:
                c.secure = True
                c.tls = Tls()
                engine.tls_server.accept(c.tls, self.http2)
            c.is_unix = self.is_unix
            c.local_port = self.port
            c.unnamed = self.proxy_protocol
            if not self.is_unix:
                c.host_len = format_host(cython.address(a), c.host_text)
                c.peer_port = port_of(cython.address(a))
            else:
                memcpy(c.host_text, b"unix:", 5)
                c.host_len = 5
            engine.accepted += 1
            engine.active += 1
            try:
                self.poller.watch(c, cnet.EPOLLIN | cnet.EPOLLOUT | cnet.EPOLLRDHUP | cnet.EPOLLET)
            except OSError:
                engine.active -= 1
                c.close()
                continue
            c.await_request()
        return 1

    def finish(self):
        """Takes what is queued, and closes."""
        rounds: cython.int = 0
        while rounds < 1024 and self.accept_some():  # not for ever where another process keeps the queue growing
            rounds += 1
        # Other processes may have this socket, too, and then closing it doesn't take it out of epoll.
        cnet.epoll_ctl(self.poller.epoll, cnet.EPOLL_CTL_DEL, self.fd, cython.NULL)
        self.poller.forget(self)

    @cython.cfunc
    def on_failure(self) -> cython.int:
        return 0


@cython.cclass
class Engine(Core):
    def __init__(
        self,
        *,
        poller,
        loop,
        settings,
        counters,
        metrics,
        loads=None,
        in_flight=None,
        sticky_key=b"",
        access_log=None,
        worker_id=0,
        plugin_attr=None,
        ticket_secret=b"",
        tls_sessions=None,
    ):
        self.poller = poller
        self.loop = loop
        self.settings = settings
        self.log = logging.getLogger("bascule.engine")
        self.worker_id = worker_id
        self.scratch = cython.cast(cython.p_char, malloc(SCRATCH))
        self.out_cap = 2 * SCRATCH
        self.out = cython.cast(cython.p_char, malloc(self.out_cap))
        if self.scratch == cython.NULL or self.out == cython.NULL:
            raise MemoryError
        self.spare = []
        self.tunnels = {}
        self.endpoints = WeakValueDictionary()
        self.upstream_plans = {}
        self.listeners = []
        self.node_states = NodeStates(worker_id, loads, loop, settings.zone)
        self.sticky_key = sticky_key
        self.guards = NodeGuards(self.node_states, metrics, self.log)
        self.on_plan = [self.guards.adopt]
        self.counters_table = counters
        self.in_flight = own_table() if in_flight is None else in_flight
        self.metrics = metrics
        self.generation = 0
        self.request_limits.max_line = settings.max_line_bytes
        self.request_limits.max_head = settings.max_head_bytes
        self.request_limits.max_fields = min(settings.max_header_fields, 128)
        self.response_limits.max_line = settings.max_line_bytes
        self.response_limits.max_head = settings.max_head_bytes
        self.response_limits.max_fields = 128
        self.max_body = settings.max_body_bytes
        self.max_connections = settings.worker_connections
        self.keepalive_ms = int(settings.keepalive_timeout_s * 1000)
        self.header_ms = int(settings.client_header_timeout_s * 1000)
        self.body_ms = int(settings.client_body_timeout_s * 1000)
        self.send_ms = int(settings.send_timeout_s * 1000)
        self.upstream_ping_ms = int(settings.upstream_ping_interval_s * 1000)
        self.keepalive_requests = settings.keepalive_requests
        self.path_flags = (TARGET_SERVLET if settings.normalize_uri_like_servlet else 0) | (
            TARGET_KEEP_ENCODED_SLASH if settings.match_uri_encoded_slash else 0
        )
        name = (
            f"{settings.server_name}/{settings.version}"
            if settings.server_tokens and settings.version
            else settings.server_name
        )
        self.server_line = f"Server: {name}\r\n".encode("latin-1")
        self.show_upstream_status = settings.show_upstream_status
        self.trusted = AddressSet(settings.trusted_addresses) if settings.trusted_addresses else None
        self.access_writer = access_log
        if access_log is not None:
            self.access = AccessLog(
                settings.access_log_format,
                settings.access_log_escape,
                settings.access_log_buffer_bytes,
                access_log.write,
            )
        self.tls_failures = metrics.counter(
            "bascule_tls_handshake_failures", "TLS handshakes with clients that failed", ("reason",)
        )
        self.retry_causes = metrics.counter(
            "bascule_retries", "Requests sent once more to an upstream, or not for want of budget", ("cause",)
        )
        self.hedge_results = metrics.counter(
            "bascule_hedges",
            "Further tries of requests that were under way, and those not made for want of budget",
            ("result",),
        )
        self.http2_failures = metrics.counter("bascule_http2_failures", "What HTTP/2 clients did wrong", ("reason",))
        self.tls_server = TlsServer(
            self.identity,
            protocols=settings.tls_protocols,
            ciphers=settings.tls_ciphers,
            ciphersuites=settings.tls_ciphersuites,
            tickets=settings.tls_tickets,
            secret=ticket_secret,
            sessions=tls_sessions,
        )
        self.tls_clients = TlsClients(settings.tls_trusted)
        self.staples = {}
        if settings.shed_lag_s:
            self.shedder = LoadShedder(self, metrics, str(worker_id), settings.shed_lag_s, settings.shed_retry_after_s)
        self.hosts = Hosts(self, plugin_attr or {})
        poller.on_error = self.on_error

    def __dealloc__(self):
        free(self.scratch)
        free(self.out)

    def on_error(self, error, handle):
        self.log.error("internal error at %r", handle, exc_info=error)

    # ---- tables

    def use_tables(self, tables) -> None:
        """The tables to match against; call `tables_changed` after each apply."""
        self.tables = tables
        self.router = tables.router
        self.consumer_keys = tables.consumer_keys
        self.tables_changed()

    def tables_changed(self) -> None:
        self.generation += 1
        self.hosts.metadata.clear()
        self.hosts.protos.clear()
        self.asks_clients = self.tables.sni.asking > 0
        chain = self.tables.global_chain
        if chain is not self.global_chain:
            self.global_chain = chain
            self.global_chain_plan = chain_plan(chain)
        for route_id in [route_id for route_id in self.tunnels if not self.tables.has_route(route_id)]:
            for exchange in list(self.tunnels[route_id]):
                cut_tunnel(cython.cast(Exchange, exchange))

    def use_challenges(self, answers, certificates) -> None:
        """What certificate authorities look for at present: path -> body, server name -> (certificate, key)."""
        self.challenges = answers or None
        self.tls_server.challenges = {
            name: TlsIdentity((pair,), name=f"acme-tls/1 {name}") for name, pair in certificates.items()
        } or None

    def identity(self, name):
        """For TlsServer: the TlsIdentity of a server name, or None."""
        if self.tables is None:
            return None
        if name is None:
            name = self.settings.tls_fallback_sni
            if name is None:
                return None
        ssl = self.tables.sni.find(name)
        if ssl is None:
            return None
        if ssl.runtime is None:
            try:
                identity = TlsIdentity(
                    ssl.pairs,
                    protocols=ssl.protocols,
                    ciphers=ssl.ciphers,
                    ciphersuites=ssl.ciphersuites,
                    client_ca=ssl.client_ca,
                    depth=ssl.depth,
                    name=ssl.id,
                )
                identity.check()
            except ValueError as error:
                self.log.error("ssls/%s can't be served: %s", ssl.id, error)
                ssl.runtime = error
                return None
            identity.source = ssl
            ssl.runtime = identity
            self.staple(ssl)
        return None if isinstance(ssl.runtime, ValueError) else ssl.runtime

    def staples_changed(self, changed: dict) -> None:
        """OCSP responses, None where there is none any more, by the keys of their certificates."""
        for key, response in changed.items():
            if response is None:
                self.staples.pop(key, None)
            else:
                self.staples[key] = response
        if self.tables is not None:
            for ssl in self.tables.sni:
                self.staple(ssl)

    @cython.cfunc
    def staple(self, ssl) -> cython.int:
        if ssl.staples and isinstance(ssl.runtime, TlsIdentity):
            ssl.runtime.staples = [self.staples.get(staple_key(cert)) for cert, _ in ssl.pairs]
        return 0

    @cython.cfunc
    def count_failure(self, reason: str) -> cython.int:
        self.tls_failures.child((reason,)).inc()
        return 0

    @cython.cfunc
    def count_hedge(self, result: str) -> cython.int:
        self.hedge_results.child((result,)).inc()
        return 0

    @cython.cfunc
    def count_retry(self, cause: str) -> cython.int:
        self.retry_causes.child((cause,)).inc()
        return 0

    @cython.cfunc
    def http2_failed(self, reason: str) -> cython.int:
        self.http2_failures.child((reason,)).inc()
        return 0

    def make_host(self, plugin: str, holder: str):
        return self.hosts.make(plugin, holder)

    @cython.cfunc
    def global_plan(self) -> ChainPlan:
        return self.global_chain_plan

    @cython.cfunc
    def plan_of(self, route: object) -> RoutePlan:
        plan: RoutePlan
        cached = route.plan
        if cached is not None:
            plan = cython.cast(RoutePlan, cached)
            if plan.generation == self.generation:
                return plan
        else:
            plan = RoutePlan()
            plan.route = route
            plan.websocket = route.websocket
            route.plan = plan
        plan.refusal = route.refusal
        plan.shed_class = shed_class(route.labels, route.service_labels)
        plan.missing = 404 if route.service_missing else 502 if route.upstream_missing else 0
        plan.chain = chain_plan(self.tables.chain(route))
        plan.upstream = self.upstream_plan(route.upstream, route.timeout) if route.upstream is not None else None
        if plan.upstream is not None and plan.upstream.secure:
            self.trust(plan.upstream)
        plan.take_limits(route.websocket_limits)
        plan.generation = self.generation
        return plan

    @cython.cfunc
    def plan_for(self, handle: object, route: object) -> UpstreamPlan:
        plan: UpstreamPlan
        if handle.generation != self.generation:
            handle.plans.clear()
            handle.generation = self.generation
        cached = handle.plans.get(route.timeout)
        if cached is not None:
            return cython.cast(UpstreamPlan, cached)
        upstream = handle.compiled if handle.id is None else self.tables.upstream(handle.id)
        if upstream is None:
            return None
        plan = self.upstream_plan(upstream, route.timeout)
        if plan.secure:
            self.trust(plan)
        handle.plans[route.timeout] = plan
        return plan

    def upstream_plan(self, upstream, timeout) -> UpstreamPlan:
        """Kept on the compiled upstream, one per timeout."""
        plans = upstream.runtime
        if plans is None:
            plans = {}
            upstream.runtime = plans
        plan = plans.get(timeout)
        if plan is None:
            balancer = next(iter(plans.values())).balancer if plans else self.node_states.balancer(upstream)
            plan = UpstreamPlan(upstream, timeout, self.endpoint_for, self.settings, balancer)
            plans[timeout] = plan
            if upstream.sticky is not None:
                plan.sticky = StickySessions(upstream, self.sticky_key, self.node_states.tokens(upstream.key))
            self.node_states.adopt(plan)
            self.observe(plan)
        return plan

    def mirror(self, upstream, told, most: int, body_limit: int):
        """engine/mirror.py's Mirror, to a CompiledUpstream."""

        return Mirror(self, lambda: self.usable_plan(upstream), told, most, body_limit)

    def usable_plan(self, upstream) -> UpstreamPlan:
        """Of an upstream that no route has."""
        plan: UpstreamPlan = self.upstream_plan(upstream, None)
        if plan.secure:
            self.trust(plan)
        return plan

    def observe(self, plan: UpstreamPlan) -> None:
        """Who wants to know how the tries of a plan went adds itself to its `observers`."""
        for hook in self.on_plan:
            hook(plan)

    def endpoint_for(self, host: str, port: int, secure: bool) -> Endpoint:
        endpoint = self.endpoints.get((host, port, secure))
        if endpoint is None:
            endpoint = Endpoint(host, port)
            self.endpoints[(host, port, secure)] = endpoint
        return endpoint

    @cython.cfunc
    def trust(self, plan: UpstreamPlan) -> cython.int:
        """Sets what its connections are secured with, as the tables have it now."""
        try:
            plan.tls = self.tls_clients.client(plan.upstream.tls, self.tables)
            plan.refused_tls = None
        except ValueError as error:
            if plan.refused_tls != str(error):
                self.log.error("%s: %s", plan.upstream.key, error)
            plan.refused_tls = str(error)
            plan.tls = None
        return 0

    # ---- upstream connections

    def server_name(self, x: Exchange, plan: UpstreamPlan) -> str:
        """For SNI and the check of the certificate: the host that the upstream is sent, else its node's."""
        host: bytes = None
        if x.request is not None:
            host = x.request.host_out
        if host is None:
            if plan.pass_host == 0 and x.req.m.host_len > 0:
                return asked_host(x)
            host = plan.rewrite_host if plan.pass_host == 2 else plan.node_host(x.node)
        return bare_host(host.decode("latin-1"))

    @cython.cfunc
    def secure(self, u: Stream, e: Endpoint, plan: UpstreamPlan, name: str, protocols: bytes) -> cython.int:
        """Makes a new connection one over TLS; its handshake follows once it is open."""
        u.tls = Tls()
        plan.tls.connect(u.tls, e, name, protocols)
        self.poller.later(u)
        return 0

    @cython.cfunc
    def acquire(self, x: Exchange, e: Endpoint, plan: UpstreamPlan) -> Upstream:
        """A pooled connection, or a new one on its way; None: none could be opened."""
        u: Http1Upstream
        i: cython.int
        name: str = None
        e.picks += 1
        if plan.secure:
            if plan.tls is None:
                return None
            name = self.server_name(x, plan)
        if plan.http2 and not x.websocket:
            return self.acquire_stream(x, e, plan, name)
        while len(e.idle) and not x.no_pool and not plan.proxy_protocol:
            u = cython.cast(Http1Upstream, e.idle.pop() if name is None else fitting(e.idle, plan, name))
            if u is None:
                break
            if u.fd < 0:
                continue
            if not repeatable(x.req.m.method):
                # Look whether the connection still stands.
                if not u.quiet():
                    u.close()
                    continue
            u.reused = True
            u.uses += 1
            u.plan = plan
            u.mark = u.sent
            u.mark_in = u.received
            return u
        x.no_pool = False
        u = Http1Upstream()
        i = self.dial(u, e)
        if i < 0:
            return None
        u.connecting = self.on_its_way
        u.core = self
        u.endpoint = e
        u.plan = plan
        u.address_index = i
        u.resolution = e.resolution
        u.uses = 1
        if plan.proxy_protocol:
            header: bytes = x.proxy_header(plan.proxy_protocol)
            if name is not None:
                u.before_tls = header
            else:
                u.send(header, len(header))
                u.mark = u.sent
        if name is not None:
            self.secure(u, e, plan, name, HTTP_1_1)
        return u

    @cython.cfunc
    def acquire_stream(self, x: Exchange, e: Endpoint, plan: UpstreamPlan, name: str) -> Upstream:
        """The same for HTTP/2: room on a connection that others use as well. `name`: for TLS, else None."""
        c: Http2UpstreamConnection = None
        u: Http2Upstream = Http2Upstream()
        i: cython.int
        if not x.no_pool and not plan.proxy_protocol:
            for entry in list(e.http2):
                c = cython.cast(Http2UpstreamConnection, entry)
                if c.fits(plan, name) and c.has_room(plan) and (repeatable(x.req.m.method) or c.stands()):
                    break
                c = None
        if c is None:
            c = Http2UpstreamConnection()
            i = self.dial(c, e)
            if i < 0:
                return None
            c.connecting = self.on_its_way
            c.core = self
            c.endpoint = e
            c.address_index = i
            c.resolution = e.resolution
            start_http2(c)
            u.fresh = x.no_pool
            if name is not None:
                self.secure(c, e, plan, name, HTTP_2)
                c.connecting = True  # until the handshake is done
            if plan.proxy_protocol:
                header: bytes = x.proxy_header(plan.proxy_protocol)
                if name is not None:
                    c.before_tls = header
                else:
                    c.send(header, len(header))
                c.retire()  # it is this client's
            else:
                e.http2.append(c)
        x.no_pool = False
        u.core = self
        u.poller = self.poller
        u.conn = c
        u.endpoint = e
        u.plan = plan
        u.connecting = c.connecting
        u.reused = c.opened > 0
        u.address_index = c.address_index
        u.resolution = c.resolution
        return u

    @cython.cfunc
    def dial(self, s: Stream, e: Endpoint) -> cython.int:
        """Opens a connection to one of the endpoint's addresses, whose index it answers; -1: none could be opened."""
        fd: cython.int
        i: cython.int
        k: cython.int
        failed: cython.int = 0
        one: cython.int = 1
        a: cython.pointer(Address)
        for k in range(e.count):
            i = e.choose(self.poller.now)
            a = cython.address(e.addresses[i])
            fd = cnet.socket(a.storage.ss_family, cnet.SOCK_STREAM | cnet.SOCK_NONBLOCK | cnet.SOCK_CLOEXEC, 0)
            if fd < 0 and errno != cnet.EAFNOSUPPORT:
                return -1
            s.fd = fd
            self.on_its_way = False
            if fd >= 0:
                if a.storage.ss_family != cnet.AF_UNIX:
                    cnet.setsockopt(fd, cnet.IPPROTO_TCP, cnet.TCP_NODELAY, cython.address(one), 4)
                failed = cnet.connect(fd, cython.cast(cython.pointer(cnet.sockaddr), cython.address(a.storage)), a.size)
                self.on_its_way = failed < 0 and errno == cnet.EINPROGRESS
            if fd < 0 or (failed < 0 and not self.on_its_way):
                s.close()
                e.mark_down(i, e.resolution, self.poller.now)
                continue
            self.poller.watch(s, cnet.EPOLLIN | cnet.EPOLLOUT | cnet.EPOLLRDHUP | cnet.EPOLLET)
            return i
        return -1

    @cython.cfunc
    def resolve(self, e: Endpoint, x: Exchange) -> cython.int:
        """Looks the endpoint's name up; the exchange goes on when that is done."""
        first: cython.bint = len(e.waiters) == 0
        e.waiters.append(x)
        if first:
            self.resolver.look_up(e)
        return 0

    @cython.cfunc
    def relay_of(self, x: Exchange) -> Relay:
        return WebsocketRelay(x, x.chain.ws_client, x.chain.ws_upstream, not x.chain.inspects)

    @cython.cfunc
    def shed(self, kind: cython.int) -> object:
        return self.shedder.answer() if self.shedder.drop(kind) else None

    # ---- heads

    @cython.cfunc
    def need_out(self, n: cython.int) -> cython.int:
        grown: cython.p_char
        if n > self.out_cap:
            grown = cython.cast(cython.p_char, malloc(n))
            if grown == cython.NULL:
                raise MemoryError
            free(self.out)
            self.out = grown
            self.out_cap = n
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def fresh_date(self) -> cython.int:
        if self.poller.now >= self.date_due:
            now = time.time()
            self.date_line = b"Date: " + email.utils.formatdate(now, usegmt=True).encode() + b"\r\n"
            self.date_due = self.poller.now + 1000000 - cython.cast(cython.longlong, now * 1e6) % 1000000
        return 0

    @cython.cfunc
    def record(self, x: Exchange) -> cython.int:
        if self.access is not None:
            self.access.record(x)
        return 0

    def flush_access_log(self) -> None:
        if self.access is not None:
            self.access.flush()

    # ---- listening and draining

    def listen(
        self,
        fd: int,
        *,
        port: int = 0,
        unix: bool = False,
        proxy_protocol: bool = False,
        tls: bool = False,
        http2: bool = False,
        alt_svc: bytes | None = None,
    ) -> None:
        """Accepts on a listening socket, which becomes the engine's. `alt_svc`: a header line for each response."""
        listener: Listener = Listener()
        listener.fd = fd
        listener.engine = self
        listener.port = port
        listener.is_unix = unix
        listener.proxy_protocol = proxy_protocol
        listener.tls = tls
        listener.http2 = http2
        listener.alt_svc = alt_svc
        self.poller.watch(listener, cnet.EPOLLIN | (cnet.EPOLLEXCLUSIVE if unix else 0))
        self.listeners.append(listener)

    def take_in(self, fd: int, quic: object, host: str, peer_port: int, local_port: int) -> bool:
        """Serves a request that came by HTTP/3 and is said in HTTP/1.1 on this socket, which becomes the engine's.
        False: there are too many connections, and it is closed."""
        c: Http1Client
        text: bytes = host.encode()
        if self.active >= self.max_connections or len(text) > 63:
            self.turned_away += 1
            cnet.close(fd)
            return False
        c = Http1Client()
        c.fd = fd
        c.core = self
        c.quic = quic
        c.secure = True
        c.host_len = cython.cast(cython.int, len(text))
        memcpy(c.host_text, cython.cast(cython.p_char, text), len(text))
        c.peer_port = peer_port
        c.local_port = local_port
        self.active += 1
        try:
            self.poller.watch(c, cnet.EPOLLIN | cnet.EPOLLOUT | cnet.EPOLLRDHUP | cnet.EPOLLET)
        except OSError:
            self.active -= 1
            c.close()
            return False
        c.await_request()
        return True

    async def drain(self, timeout_s: float, refusing=lambda: None):
        """Finishes what there is, within timeout_s. Who has connected, or is about to send a request, gets an answer.
        `refusing` is called once no request begins any more."""
        listener: Listener
        deadline = time.monotonic() + timeout_s
        self.draining = DRAIN
        for entry in list(self.poller.handles):
            if isinstance(entry, Http1Client):
                cython.cast(Http1Client, entry).drain_idle()
            elif isinstance(entry, Http2Connection):
                cython.cast(Http2Connection, entry).drain_idle()
        await asyncio.sleep(ACCEPT_ON_S)
        for listener in self.listeners:
            listener.finish()
        self.listeners = []
        while self.awaits_requests() and time.monotonic() < deadline:  # half a second at most
            await asyncio.sleep(0.02)
        self.draining = DRAIN_LAST
        refusing()
        while self.active and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        if self.exchanges:
            self.log.warning("%d requests still ran after %.0f s of draining", self.exchanges, timeout_s)
            for exchanges in list(self.tunnels.values()):
                for exchange in list(exchanges):
                    cut_tunnel(cython.cast(Exchange, exchange))  # who understands it is told, at least
        self.flush_access_log()

    def awaits_requests(self):
        """Whether a connection is open on which a request may come."""
        for entry in self.poller.handles:
            if isinstance(entry, Http1Client) and cython.cast(Http1Client, entry).state == C_HEAD:
                return True
            if isinstance(entry, Http2Connection) and cython.cast(Http2Connection, entry).awaits_requests():
                return True
        return False

    def stats(self) -> dict:
        """Counters since the start, as plain numbers."""
        return {
            "accepted": self.accepted,
            "requests": self.requests,
            "active_connections": self.active,
            "exchanges": self.exchanges,
            "by_class": [self.by_class[i] for i in range(6)],
            "upstream_failures": self.upstream_failures,
            "retries": self.retries,
            "refused_heads": self.refused_heads,
            "refused_proxies": self.refused_proxies,
            "turned_away": self.turned_away,
            "tls_handshakes": self.handshakes,
            "tls_resumptions": self.resumptions,
            "http2_connections": self.http2_connections,
            "http2_streams": self.http2_streams,
            "endpoints": len(self.endpoints),
        }

    def endpoint_states(self) -> list:
        return [repr(e) for e in self.endpoints.values()]


@cython.cfunc
@cython.exceptval(check=False)
def repeatable(m: cython.int) -> cython.bint:
    """Whether a request with this method may be sent twice."""
    return m == M_GET or m == M_HEAD or m == M_PUT or m == M_DELETE or m == M_OPTIONS or m == M_TRACE


@cython.cfunc
def fitting(idle: list, plan: UpstreamPlan, name: str) -> object:
    """The latest idle connection that was secured in the same way for the same name, or None."""
    u: Http1Upstream
    i: cython.Py_ssize_t = len(idle)
    while i > 0:
        i -= 1
        u = cython.cast(Http1Upstream, idle[i])
        if u.tls.server is plan.tls and u.tls.server_name == name:
            return idle.pop(i)
    return None
