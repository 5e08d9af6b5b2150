"""TLS towards clients: speed against nginx, memory of idle connections, and many certificates."""

import random
import resource
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from bascule.model.change import Change
from bascule.plugin.kit.memory_host import MemoryHost
from bascule.plugin.registry import Registry
from bascule.snapshot.tables import Tables
from bench.cpu import cpu_s, worker
from bench.load import Load, check_same_job, site_requests
from bench.memory import settled_rss
from bench.peers import Peer, bascule_resources, nginx, start_bascule
from bench.site import HOSTS, Site
from bench.speed import CONNECTIONS, GATEWAY_CPUS, LOAD_CPUS, Bench, compare
from tests.servers.certificates import Certificates, Pair
from tests.servers.ports import free_port

IDLE = 10_000
CERTIFICATES = 10_000
HANDSHAKES = 4_000


def _both(bench: Bench, scenario: str, stack: ExitStack) -> list[tuple[str, Peer]]:
    """nginx and Bascule with the same P-256 certificate for the whole site."""
    site = bench.upstream(stack, scenario)
    pair = Certificates(bench.directory / scenario / "certs", ("localhost", *HOSTS)).server
    peers = [("nginx", nginx(site, bench.folder(f"{scenario}/nginx"), GATEWAY_CPUS, pair))]
    stack.callback(peers[0][1].stop)
    resources = with_certificates(site, {"localhost": pair})
    gateway = start_bascule(
        "bascule", resources, bench.folder(f"{scenario}/bascule"), GATEWAY_CPUS, tls_port=free_port()
    )
    stack.callback(gateway.stop)
    peers.append(("bascule", gateway))
    for _, peer in peers:
        check_same_job(peer, site)
    return peers


def with_certificates(site: Site, pairs: dict[str, Pair]) -> dict[str, Any]:
    resources = bascule_resources(site)
    resources["ssls"] = [
        {"id": f"s{number}", "sni": name, **pair.texts} for number, (name, pair) in enumerate(pairs.items())
    ]
    return resources


def _speed(bench: Bench, scenario: str, headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    with ExitStack() as stack:
        contenders = _both(bench, scenario, stack)
        load = Load(bench.directory / scenario, "load", site_requests("items?id=7"), headers, tls=True)
        return compare(bench, scenario, contenders, load)


def keepalive(bench: Bench) -> dict[str, Any]:
    """Keep-alive over TLS 1.3 with a P-256 certificate, 128-byte answers."""
    return _speed(bench, "tls", [])


def handshakes(bench: Bench) -> dict[str, Any]:
    """A new TLS connection with a full handshake for each request; keep-alive to the upstreams."""
    return _speed(bench, "tls-handshakes", [("Connection", "close")])


def connections(bench: Bench) -> dict[str, Any]:
    """Resident size that each of 10,000 idle TLS connections adds to the worker, kernel memory not counted."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit < IDLE + 1000:
        raise OSError(f"{IDLE} connections need more open files than the limit of {limit}")
    result = {}
    request = f"GET /p1/items HTTP/1.1\r\nHost: {HOSTS[1]}\r\n\r\n".encode()
    with ExitStack() as stack:
        for name, peer in _both(bench, "tls-connections", stack):
            load = Load(bench.directory / "tls-connections", name, site_requests("items"), tls=True)
            load.sample(peer, cpus=LOAD_CPUS, connections=CONNECTIONS, seconds=1)
            pid = worker(peer.pid)
            before = settled_rss(pid)
            connect = _connector(peer.tls_port)
            held = []
            for _ in range(IDLE):
                sock = connect("localhost")
                sock.sendall(request)
                answer = b""
                while b"\r\n\r\n" not in answer or not answer.endswith(b"x"):
                    answer += sock.recv(4096)
                held.append(sock)
            each = (settled_rss(pid) - before) / IDLE
            for sock in held:
                sock.close()
            result[name] = {"bytes_per_connection": each}
            bench.say(f"  {name}: {each:,.0f} bytes a TLS connection")
    return {"kind": "connections", "peers": result}


def _connector(port: int) -> Callable[[str], ssl.SSLSocket]:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def connect(name: str) -> ssl.SSLSocket:
        return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20), server_hostname=name)

    return connect


def _handshake_us(peer: Peer, names: Sequence[str]) -> float:
    """CPU time of the gateway for a full handshake and its end."""
    connect = _connector(peer.tls_port)
    before = cpu_s(peer.pid)
    for name in names:
        connect(name).close()
    return (cpu_s(peer.pid) - before) / len(names) * 1e6


def certificates(bench: Bench) -> dict[str, Any]:
    """10,000 certificates: how long they take to load, a change of one, and handshakes against those with one."""
    with ExitStack() as stack:
        site = bench.upstream(stack, "certificates")
        authority = Certificates(bench.directory / "certificates" / "certs")
        names = [f"h{number}.example" for number in range(CERTIFICATES)]
        pairs = {name: authority.issue(name, (name,)) for name in names}
        one = start_bascule(
            "one",
            with_certificates(site, {names[0]: pairs[names[0]]}),
            bench.folder("certificates/one"),
            GATEWAY_CPUS,
            tls_port=free_port(),
        )
        stack.callback(one.stop)
        resources = with_certificates(site, pairs)
        many = start_bascule("many", resources, bench.folder("certificates/many"), GATEWAY_CPUS, tls_port=free_port())
        load_s, change_ms = _compiled(resources["ssls"])
        stack.callback(many.stop)
        chosen = random.Random(1).sample(names, HANDSHAKES)
        _handshake_us(one, names[:1] * 500)
        first = _handshake_us(many, chosen)  # each certificate is parsed at its first handshake
        ratios, ones, manys = [], [], []
        for number in range(bench.rounds):
            measured = [_handshake_us(one, names[:1] * HANDSHAKES), _handshake_us(many, chosen)]
            ones.append(measured[0])
            manys.append(measured[1])
            ratios.append(measured[1] / measured[0])
            bench.say(f"  round {number + 1}/{bench.rounds}: {measured[0]:.0f} µs with one, {measured[1]:.0f} µs")
    return {
        "kind": "certificates",
        "load_s": load_s,
        "change_ms": change_ms,
        "first_us": first,
        "one_us": sorted(ones)[len(ones) // 2],
        "many_us": sorted(manys)[len(manys) // 2],
        "ratio": sorted(ratios)[len(ratios) // 2],
    }


def _compiled(items: list[dict[str, Any]]) -> tuple[float, float]:
    """What a worker takes to check and take in all of them (s), and then a change of one (ms, the 99th of 100)."""
    tables = Tables(Registry(None, ()), lambda plugin, holder: MemoryHost(plugin, holder=holder))
    changes = [Change("ssls", str(item["id"]), item) for item in items]
    begun = time.perf_counter()
    if tables.apply(changes).errors:
        raise RuntimeError("a certificate was refused")
    load_s = time.perf_counter() - begun
    taken = []
    for change, other in zip(changes[:100], items[100:200], strict=True):
        begun = time.perf_counter()
        tables.apply([Change("ssls", change.id, {**other, "id": change.id})])
        taken.append((time.perf_counter() - begun) * 1e3)
    return load_s, sorted(taken)[98]
