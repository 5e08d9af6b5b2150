# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Endpoints (one per server address and worker) and what the engine precomputes of an upstream: timeouts,
limits.
"""

import cython
from cython.cimports.bascule.engine.retry import RetryPlan
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.address import Address, parse_address
from cython.cimports.libc.stdlib import calloc, free, malloc
from cython.cimports.libc.string import memcmp

from bascule.engine.hash_key import key_reader

DOWN_US = cython.declare(cython.longlong, 5000000)


@cython.cclass
class Endpoint:
    def __init__(self, host: str, port: int):
        a: Address
        one: cython.pointer(Address)
        self.host = host
        self.port = port
        self.idle = []
        self.http2 = []
        self.waiters = []
        self.literal = parse_address(host, port, cython.address(a))
        if self.literal:
            one = cython.cast(cython.pointer(Address), malloc(cython.sizeof(Address)))
            one[0] = a
            self.take(one, 1)

    def __dealloc__(self):
        free(self.addresses)
        free(self.down_until)

    def __repr__(self):
        return f"<Endpoint {self.host}:{self.port} addresses={self.count} idle={len(self.idle)} active={self.active}>"

    def resolved(self, hosts: list) -> list:
        """Takes the name's addresses (text; an empty list keeps the known ones); returns the exchanges that waited."""
        a: Address
        fresh: cython.pointer(Address)
        i: cython.int = 0
        if hosts:
            fresh = cython.cast(cython.pointer(Address), malloc(cython.sizeof(Address) * len(hosts)))
            for host in sorted(hosts, key=_is_ipv6):
                if parse_address(host, self.port, cython.address(a)):
                    fresh[i] = a
                    i += 1
            self.take(fresh, i)
            self.failure = None
        waiters = self.waiters
        self.waiters = []
        return waiters

    @cython.cfunc
    @cython.exceptval(check=False)
    def take(self, fresh: cython.pointer(Address), n: cython.int) -> cython.void:
        """Uses these n addresses from now on; what is known to be down of them still is."""
        down: cython.p_longlong = cython.cast(cython.p_longlong, calloc(n, cython.sizeof(cython.longlong)))
        i: cython.int
        k: cython.int
        self.preferred = 0
        for i in range(n):
            if fresh[i].storage.ss_family != cnet.AF_INET6:
                self.preferred += 1
            for k in range(self.count):
                if fresh[i].size == self.addresses[k].size and not memcmp(
                    cython.address(fresh[i].storage), cython.address(self.addresses[k].storage), fresh[i].size
                ):
                    down[i] = self.down_until[k]
        if self.preferred == 0:
            self.preferred = n
        free(self.addresses)
        free(self.down_until)
        self.addresses = fresh
        self.down_until = down
        self.count = n
        self.next = 0
        self.resolution += 1

    def unresolved(self, reason: str) -> list:
        """The name could not be resolved: stale addresses stay in use. Returns the exchanges that waited."""
        self.failure = reason
        waiters = self.waiters
        self.waiters = []
        return waiters

    @cython.cfunc
    @cython.exceptval(check=False)
    def choose(self, now: cython.longlong) -> cython.int:
        """Index of the address for the next connection: those that work take turns, IPv6 when no IPv4 works (RFC 8305
        in spirit: a dual-stack name may have a server on one family only)."""
        i: cython.int
        k: cython.int
        best: cython.int = 0
        for k in range(self.preferred):
            i = (self.next + k) % self.preferred
            if self.down_until[i] <= now:
                self.next = i + 1
                return i
        for i in range(self.count):
            if self.down_until[i] < self.down_until[best]:
                best = i  # works, or failed the longest ago
        return best

    @cython.cfunc
    @cython.exceptval(check=False)
    def mark_down(self, i: cython.int, resolution: cython.int, now: cython.longlong) -> cython.void:
        """No connection could be opened to this address: others go first for some seconds."""
        if resolution == self.resolution and i < self.count:
            self.down_until[i] = now + DOWN_US

    @cython.cfunc
    @cython.exceptval(check=False)
    def await_answer(self, now: cython.longlong) -> cython.void:
        """One more request waits for this node."""
        if self.awaited == 0:
            self.silent_since = now
        self.awaited += 1


def _is_ipv6(host: str) -> bool:
    return ":" in host


def _ms(seconds: object, default_s: float) -> int:
    return max(1, int((default_s if seconds is None else seconds) * 1000))


@cython.cclass
class UpstreamPlan:
    """Built from a CompiledUpstream; `endpoint_for(host, port, secure)` gives the shared endpoints."""

    def __init__(self, upstream, timeout, endpoint_for, settings, balancer):
        """`balancer`: over the nodes that have a weight, shared by all plans of the upstream; None when none has."""
        self.upstream = upstream
        self.observers = ()
        nodes = upstream.nodes
        self.count = len(nodes)
        self.endpoints = [endpoint_for(node.host, node.port, upstream.tls is not None) for node in nodes]
        timeout = timeout or upstream.timeout
        self.connect_ms = _ms(timeout and timeout.connect_s, settings.upstream_connect_timeout_s)
        self.send_ms = _ms(timeout and timeout.send_s, settings.upstream_send_timeout_s)
        self.read_ms = _ms(timeout and timeout.read_s, settings.upstream_read_timeout_s)
        self.retries = self.count - 1 if upstream.retries is None else upstream.retries
        self.retry_timeout_us = int((upstream.retry_timeout_s or 0) * 1e6)
        stalled = upstream.outlier_detection and upstream.outlier_detection.stalled
        if stalled:
            self.stall_us = int(stalled.after * 1e6)
            self.stall_requests = stalled.requests
        if upstream.retry_policy is not None:
            self.retry = RetryPlan(upstream.retry_policy)
        self.keep_size = upstream.keepalive_size
        self.keep_idle_ms = int(upstream.keepalive_idle_s * 1000)
        self.keep_requests = upstream.keepalive_requests
        self.proxy_protocol = upstream.proxy_protocol
        self.keep = self.keep_idle_ms > 0 and not self.proxy_protocol
        self.grpc = upstream.scheme in ("grpc", "grpcs")
        self.http2 = self.grpc or upstream.http2
        self.pass_host = {"pass": 0, "node": 1, "rewrite": 2}[upstream.pass_host]
        self.rewrite_host = (upstream.upstream_host or "").encode("latin-1")
        self.node_hosts = [None] * self.count
        self.secure = upstream.tls is not None
        self.read_key = key_reader(upstream)
        self.balancer = balancer
        self.counts = balancer is not None and balancer.counts
        self.pass_over(frozenset())

    @cython.cfunc
    def node_host(self, i: cython.int) -> bytes:
        """A node as the Host field names it; made when it is asked for, since few upstreams do."""
        host: bytes = self.node_hosts[i]
        if host is None:
            node = self.upstream.nodes[i]
            host = self.node_hosts[i] = _authority(node.host, node.port, 443 if self.secure else 80)
        return host

    @cython.ccall
    def pass_over(self, nodes: frozenset):
        """These nodes, by index, get no requests from now on."""
        i: cython.int
        usable: cython.int = 0
        left: cython.int = 0
        last: cython.int = -1
        self.passed_over = nodes
        self.single = -1
        for i in range(self.count):
            if i not in nodes:
                left += 1
                last = i
                if self.upstream.nodes[i].weight > 0:
                    usable += 1
                    self.single = i
        if usable == 0 and left == 1:
            self.single = last  # without a weight, but there is no other
        elif usable != 1:
            self.single = -1
        if self.balancer is not None:
            self.balancer.pass_over(nodes)

    @cython.cfunc
    def pick(self, key: object, tried: set | None) -> cython.int:
        """Index of the node to use, -1 when none is left."""
        if self.single >= 0:
            return self.single if tried is None or self.single not in tried else -1
        if self.balancer is None:
            return -1
        return self.balancer.pick(key, tried)

    @cython.cfunc
    @cython.exceptval(check=False)
    def stalled(self, node: cython.int, now: cython.longlong) -> cython.bint:
        e: Endpoint = cython.cast(Endpoint, self.endpoints[node])
        return e.awaited >= self.stall_requests and now - e.silent_since > self.stall_us

    @cython.cfunc
    def lively(self, node: cython.int, key: object, tried: set | None, now: cython.longlong) -> cython.int:
        """The picked node, or another one if that is stalled; the picked one after all if they all are."""
        skipped: set
        other: cython.int = node
        if node < 0 or not self.stalled(node, now):
            return node
        skipped = set() if tried is None else set(tried)
        while other >= 0 and self.stalled(other, now):
            skipped.add(other)
            other = self.pick(key, skipped)
        return node if other < 0 else other


def _authority(host: str, port: int, default_port: int) -> bytes:
    """A node as the Host field names it."""
    if host.startswith("unix:"):
        return b"localhost"
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return (host if port == default_port else f"{host}:{port}").encode("latin-1" if host.isascii() else "idna")
