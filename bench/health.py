"""How soon a node that has died is passed over by every worker: found by probes, and by what requests met."""

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.pairs import Spread
from bench.reliability import Node
from bench.speed import Bench
from tests.servers.gateway import Gateway

WORKERS = 4
CLIENTS = 32
EVERY_S = 0.004  # each client
BEFORE_S, AFTER_S = 1.2, 2.5
CHECKS: dict[str, dict[str, Any]] = {
    "probes each second, one failure": {
        "active": {"http_path": "/", "healthy": {"interval": 1}, "unhealthy": {"interval": 1, "tcp_failures": 1}},
    },
    "probes each second, two failures": {
        "active": {"http_path": "/", "healthy": {"interval": 1}, "unhealthy": {"interval": 1, "tcp_failures": 2}},
    },
    "requests, one failure": {"passive": {"unhealthy": {"tcp_failures": 1}}},
}


class Watcher:
    """Requests at a steady pace on CLIENTS connections, and when those came that met the dead node."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.met: list[float] = []
        self.failed = 0

    async def client(self, end: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while time.monotonic() < end:
            writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            fields = dict(line.partition(b": ")[::2] for line in lines[1:])
            await reader.readexactly(int(fields[b"content-length"]))
            if b"," in fields[b"x-apisix-upstream-status"]:  # a first try that failed, and a second one
                self.met.append(time.monotonic())
            self.failed += b" 200 " not in lines[0]
            await asyncio.sleep(EVERY_S)
        writer.close()

    async def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        await asyncio.gather(*(self.client(end) for _ in range(CLIENTS)))


async def death(checks: dict[str, Any], directory: Path) -> tuple[float, float, int]:
    """Seconds from a node's death, and from the first request that met it, to the last one; requests that failed."""
    nodes = [Node(directory / "posts") for _ in range(3)]
    upstream = {
        "id": "1",
        "nodes": {f"127.0.0.1:{node.port}": 1 for node in nodes},
        "checks": checks,
        "outlier_detection": {"consecutive_connect_failures": 0, "consecutive_gateway_errors": 0, "consecutive_5xx": 0},
    }
    resources = {"upstreams": [upstream], "routes": [{"id": "1", "uri": "/*", "upstream_id": "1"}]}
    config = {
        "apisix": {"show_upstream_status_in_response_header": True},
        "nginx_config": {"http": {"enable_access_log": False}},
    }
    try:
        gateway = Gateway(directory / "gateway", resources, config, workers=WORKERS)
        try:
            watcher = Watcher(gateway.port)
            traffic = asyncio.create_task(watcher.run(BEFORE_S + AFTER_S))
            await asyncio.sleep(BEFORE_S)
            nodes[0].kill()
            died = time.monotonic()
            await traffic
        finally:
            gateway.stop()
    finally:
        for node in nodes:
            node.kill()
    met = watcher.met
    return met[-1] - died, met[-1] - met[0], watcher.failed


def health(bench: Bench) -> dict[str, Any]:
    """From the death of one of three nodes to the last request that met it; 4 workers, 32 connections."""
    found: dict[str, dict[str, list[float]]] = {name: {"died_ms": [], "met_ms": [], "failed": []} for name in CHECKS}
    for round_number in range(bench.rounds):
        for name, checks in CHECKS.items():
            folder = bench.folder(f"health/{round_number} {name}")
            died_s, met_s, failed = asyncio.run(death(checks, folder))
            bench.say(f"  round {round_number + 1}/{bench.rounds} {name}: {died_s * 1000:.0f} ms after its death")
            found[name]["died_ms"].append(died_s * 1000)
            found[name]["met_ms"].append(met_s * 1000)
            found[name]["failed"].append(failed)
    return {
        "kind": "health",
        "rounds": bench.rounds,
        "checks": {
            name: {
                "died_ms": asdict(Spread.of(seen["died_ms"])),
                "met_ms": asdict(Spread.of(seen["met_ms"])),
                "failed": sum(seen["failed"]),
            }
            for name, seen in found.items()
        },
    }
