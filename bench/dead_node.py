"""What a dead node costs once it is passed over: one gateway, one upstream as it is and with a dead node added.

Throughput itself swings by a tenth from second to second on a small machine, whatever is measured. So each round takes
the CPU time (of worker and supervisor, in ns) of a request to each upstream, one shortly after the other, and compares
these; of many rounds' ratios the median counts, and the interval that holds it with 95%. System calls don't swing: they
are counted in rounds of their own, where the kernel lets `perf` do so.
"""

import shutil
import signal
import statistics
import subprocess
from contextlib import ExitStack
from math import ceil, floor, sqrt
from pathlib import Path
from typing import Any

from bench.cpu import run_ns, worker
from bench.load import Load
from bench.peers import start_bascule
from bench.speed import CONNECTIONS, GATEWAY_CPUS, LOAD_CPUS, Bench
from tests.servers.ports import free_port
from tests.servers.raw import RawClient

ROUNDS = 8  # for each that is asked for
COUNTED = 3
# A probe each second, as by default; two failures are enough.
CHECKS = {"active": {"http_path": "/items", "unhealthy": {"interval": 1, "tcp_failures": 2}}}
NAMES = {"alive": "two nodes", "ejected": "and a dead one, ejected", "checked": "and a dead one, known from probes"}


def interval(values: list[float]) -> tuple[float, float, float]:
    """The median, and the bounds that hold it with 95%, whatever the values' distribution (by their order)."""
    ordered = sorted(values)
    half = 0.98 * sqrt(len(ordered))
    low = max(0, floor(len(ordered) / 2 - half))
    high = min(len(ordered) - 1, ceil(len(ordered) / 2 + half))
    return statistics.median(ordered), ordered[low], ordered[high]


def resources(ports: tuple[int, int]) -> dict[str, Any]:
    nodes = {f"127.0.0.1:{port}": 1 for port in ports}
    with_dead = {**nodes, f"127.0.0.1:{free_port()}": 1}
    pool = {"size": 320, "idle_timeout": 600, "requests": 100_000_000}
    upstreams = [
        {"id": "alive", "nodes": nodes, "keepalive_pool": pool},
        {"id": "ejected", "nodes": with_dead, "keepalive_pool": pool},
        {"id": "checked", "nodes": with_dead, "keepalive_pool": pool, "checks": CHECKS},
    ]
    routes = [{"id": one["id"], "uri": f"/{one['id']}/*", "upstream_id": one["id"]} for one in upstreams]
    return {"upstreams": upstreams, "routes": routes}


def calls_of(pid: int, load: Load, port: int, directory: Path) -> float | None:
    """System calls of a request; None: they can't be counted here."""
    told = directory / "calls"
    argv = ["perf", "stat", "-x,", "-o", str(told), "-e", "raw_syscalls:sys_enter", "-p", str(pid)]
    counter = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        requests = load.requests(port, cpus=LOAD_CPUS, connections=CONNECTIONS, seconds=1)
    finally:
        counter.send_signal(signal.SIGINT)
        counter.wait(10)
    counted = next((line.split(",")[0] for line in told.read_text().splitlines() if "sys_enter" in line), "")
    return int(counted) / requests if counted.isdigit() else None


def dead_node(bench: Bench) -> dict[str, Any]:
    """A dead node added to two, once it is passed over."""
    with ExitStack() as stack:
        site = bench.upstream(stack, "dead-node")
        gateway = start_bascule("bascule", resources(site.ports), bench.folder("dead-node/bascule"), GATEWAY_CPUS)
        stack.callback(gateway.stop)
        loads = {name: Load(bench.directory, name, [("a.test", f"/{name}/items")]) for name in NAMES}
        with RawClient(gateway.port) as client:
            for name in NAMES:  # whoever is dead is met, and passed over from then on
                for _ in range(12):
                    client.request("GET", f"/{name}/items", [("Host", "a.test")])

        def cost(name: str) -> float:
            """ns of CPU time for a request."""
            before = run_ns(gateway.pid)
            requests = loads[name].requests(gateway.port, cpus=LOAD_CPUS, connections=CONNECTIONS, seconds=1)
            return (run_ns(gateway.pid) - before) / requests

        for name in NAMES:
            cost(name)
        ratios: dict[str, list[float]] = {name: [] for name in NAMES}
        costs: dict[str, list[float]] = {name: [] for name in NAMES}
        names = list(NAMES)
        for number in range(ROUNDS * bench.rounds):
            turned = names[number % 3 :] + names[: number % 3]
            found = {name: cost(name) for name in (turned if number % 2 else reversed(turned))}
            for name in NAMES:
                costs[name].append(found[name])
                ratios[name].append(found[name] / found["alive"])
            if number % ROUNDS == 0:
                bench.say(f"  round {number}: " + ", ".join(f"{name} {found[name]:,.0f} ns" for name in NAMES))
        pid = worker(gateway.pid)
        counted: dict[str, list[float]] = {name: [] for name in NAMES}
        for _ in range(COUNTED if shutil.which("perf") else 0):
            for name in NAMES:
                calls = calls_of(pid, loads[name], gateway.port, bench.directory)
                if calls is not None:
                    counted[name].append(calls)
        result: dict[str, Any] = {}
        for name in NAMES:
            median, low, high = interval(ratios[name])
            result[name] = {
                "cpu_ns": statistics.median(costs[name]),
                "ratio": {"low": low, "median": median, "high": high},
                "calls": statistics.median(counted[name]) if counted[name] else None,
            }
        return {"kind": "dead-node", "rounds": ROUNDS * bench.rounds, "upstreams": result}
