"""python -m bench [--scenario NAME ...] [--peers ...] [--rounds N] [--seconds S] | python -m bench report"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import balance, dead_node, grpc, health, http2, memory, propagation, report, speed, tables, tls, websocket
from bench.load import LoadFailed
from bench.peers import available
from bench.speed import Bench
from tests.servers.process import ServerFailed

RESULTS = Path(__file__).parent / "results" / "latest.json"
SCENARIOS = {
    "plain": speed.plain,
    "plugins": speed.plugins,
    "close": speed.close,
    "big": speed.big,
    "latency": speed.latency,
    "routes": speed.routes,
    "grpc": grpc.grpc,
    "idle": memory.idle,
    "connections": memory.connections,
    "tls": tls.keepalive,
    "http2": http2.http2,
    "tls-handshakes": tls.handshakes,
    "tls-connections": tls.connections,
    "certificates": tls.certificates,
    "tables": tables.tables,
    "propagation": propagation.propagation,
    "balance": balance.balance,
    "dead-node": dead_node.dead_node,
    "health": health.health,
    "websocket": websocket.websocket,
}


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def allow_open_files(count: int) -> None:
    """Raises the limit for this process and the gateways that it starts, as far as the system lets it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, hard)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def keep(name: str, result: dict[str, Any]) -> None:
    """Merges one scenario's result into the results file."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept["machine"] = machine()
    kept.setdefault("scenarios", {})[name] = {**result, "at": time.strftime("%Y-%m-%d", time.gmtime())}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(kept, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description="The figures of docs/performance.md.")
    parser.add_argument("verb", nargs="?", choices=["run", "report"], default="run")
    parser.add_argument("--scenario", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--peers", nargs="+", choices=["all", *available()], default=["nginx", "bascule"])
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds of each scenario")
    parser.add_argument("--seconds", type=float, default=4, help="length of one measurement")
    options = parser.parse_args()
    if options.verb == "report":
        report.write(json.loads(RESULTS.read_text()))
        return 0
    if (os.cpu_count() or 1) < 2:
        print("bench: two cores are needed: one for the gateway, one for the load and the upstream", file=sys.stderr)
        return 2
    allow_open_files(65536)
    peers = available() if "all" in options.peers else list(dict.fromkeys(["nginx", *options.peers]))
    for name in options.scenario:
        print(f"{name}: {(SCENARIOS[name].__doc__ or '').strip()}", flush=True)
        with tempfile.TemporaryDirectory(prefix="bascule-bench-") as directory:
            Path(directory).chmod(0o755)
            bench = Bench(
                Path(directory) / "work", peers, options.rounds, options.seconds, lambda line: print(line, flush=True)
            )
            bench.folder(name)
            try:
                result = SCENARIOS[name](bench)
            except (LoadFailed, ServerFailed) as failure:
                print(f"bench: {name}: {failure}", file=sys.stderr)
                return 1
        keep(name, result)
        print(report.table(result) + "\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
