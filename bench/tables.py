"""100,000 routes: loaded from a JSON file and compiled; then one of them replaced again and again. Its own process."""

import gc
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.speed import Bench

ROUTES = 100_000
REPLACED = 500


def write_file(path: Path, count: int) -> None:
    """An apisix.json with `count` routes over 100 hosts and 1,000 upstreams."""
    upstreams = [{"id": f"u{number}", "nodes": {f"127.0.0.1:{10_000 + number}": 1}} for number in range(1000)]
    routes = [
        {
            "id": f"r{number}",
            "uri": f"/service{number // 100}/*",
            "host": f"h{number % 100}.example",
            "upstream_id": f"u{number % 1000}",
            "plugins": {"request-id": {}} if number % 10 == 0 else {},
        }
        for number in range(count)
    ]
    for route in routes:
        if not route["plugins"]:
            del route["plugins"]
    path.write_text(json.dumps({"upstreams": upstreams, "routes": routes}))


def measure(path: Path) -> dict[str, Any]:
    """Loads, compiles, replaces; for a fresh process, so that its peak memory is that of the job."""
    from bascule.plugin.kit.memory_host import MemoryHost
    from bascule.plugin.registry import Registry
    from bascule.snapshot.tables import Tables
    from bascule.store.file import FileStore

    started = time.perf_counter()
    loaded = FileStore(path, environ={}).load()
    read = time.perf_counter()
    tables = Tables(Registry(None, ()), lambda plugin, holder: MemoryHost(plugin, holder=holder), "radixtree_host_uri")
    applied = tables.apply(loaded.changes)
    compiled = time.perf_counter()
    if loaded.errors or applied.errors:
        raise SystemExit(f"refused: {[*loaded.errors, *applied.errors][:3]}")
    gc.collect()  # as a worker does once it has loaded its configuration
    gc.freeze()
    by_id = [change for change in loaded.changes if change.kind == "routes"]
    times_ms = []
    for number in range(REPLACED):
        change = by_id[(number * 7919) % len(by_id)]
        value = {**(change.value or {}), "desc": f"edit {number}"}
        before = time.perf_counter()
        tables.apply([replace(change, value=value, revision=change.revision + 1)])
        times_ms.append((time.perf_counter() - before) * 1e3)
    ordered = sorted(times_ms)
    return {
        "read_s": read - started,
        "compile_s": compiled - read,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "replace_median_ms": statistics.median(ordered),
        "replace_p99_ms": ordered[len(ordered) * 99 // 100],
        "replace_max_ms": ordered[-1],
    }


def tables(bench: Bench) -> dict[str, Any]:
    """100,000 routes from a JSON file, read and compiled; and one route among them replaced."""
    path = bench.directory / "tables" / "apisix.json"
    write_file(path, ROUTES)
    argv = [sys.executable, "-m", "bench.tables", str(path)]
    said = subprocess.run(
        argv, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": "0"}
    )
    return {"kind": "tables", **json.loads(said.stdout)}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    print(json.dumps(measure(Path(sys.argv[1]))))
