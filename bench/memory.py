"""Memory: of an idle worker, and of 10,000 idle keep-alive connections."""

import resource
import socket
import statistics
import time
from contextlib import ExitStack
from typing import Any

from bench.cpu import memory_bytes, worker
from bench.load import Load, check_same_job, site_requests
from bench.peers import Peer
from bench.site import HOSTS
from bench.speed import LOAD_CPUS, Bench

CONNECTIONS = 10_000


def settled_rss(pid: int) -> int:
    """Resident bytes once they stopped moving."""
    seen = [memory_bytes(pid)[0]]
    for _ in range(20):
        time.sleep(0.1)
        seen.append(memory_bytes(pid)[0])
        if len(set(seen[-4:])) == 1 and len(seen) > 4:
            break
    return int(statistics.median(seen[-4:]))


def idle(bench: Bench) -> dict[str, Any]:
    """Resident and proportional size of a worker that has the 100 routes and has served nothing yet."""
    result = {}
    with ExitStack() as stack:
        site = bench.upstream(stack, "idle")
        for name in bench.peers:
            peer = bench.start(stack, "idle", name, site)
            pid = worker(peer.pid)
            settled_rss(pid)
            rss, pss = memory_bytes(pid)
            result[name] = {"rss_bytes": rss, "pss_bytes": pss}
            bench.say(f"  {name}: {rss / 2**20:.1f} MiB resident, {pss / 2**20:.1f} MiB proportional")
    return {"kind": "idle", "peers": result}


def _open_idle(peer: Peer, count: int) -> list[socket.socket]:
    """`count` connections that have each had one answer and stay open."""
    request = f"GET /p1/items HTTP/1.1\r\nHost: {HOSTS[1]}\r\n\r\n".encode()
    sockets = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", peer.port), timeout=10)
        sockets.append(sock)
        sock.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"x"):
            answer += sock.recv(4096)
    return sockets


def connections(bench: Bench) -> dict[str, Any]:
    """Resident size that each of 10,000 idle keep-alive connections adds to the worker, kernel memory not counted."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit < CONNECTIONS + 1000:
        raise OSError(f"{CONNECTIONS} connections need more open files than the limit of {limit}")
    result = {}
    with ExitStack() as stack:
        site = bench.upstream(stack, "connections")
        for name in bench.peers:
            if name == "haproxy" and limit < 2 * CONNECTIONS + 1000:
                bench.say(f"  haproxy: left out, it wants two open files for each connection and the limit is {limit}")
                continue
            peer = bench.start(stack, "connections", name, site)
            check_same_job(peer, site)
            # Warm: pools, buffers and code that the first requests bring in are no cost of a connection.
            load = Load(bench.directory / "connections", name, site_requests("items"))
            load.sample(peer, cpus=LOAD_CPUS, connections=64, seconds=1)
            pid = worker(peer.pid)
            before = settled_rss(pid)
            sockets = _open_idle(peer, CONNECTIONS)
            each = (settled_rss(pid) - before) / CONNECTIONS
            for sock in sockets:
                sock.close()
            peer.stop()
            result[name] = {"bytes_per_connection": each}
            bench.say(f"  {name}: {each:,.0f} bytes a connection")
    return {"kind": "connections", "peers": result}
