"""What the router costs: finding a route in tables of 1 to 100,000, and changing one among 100,000.

    python bench/micro_match.py [ROUTES]

Times are CPU time. The finds are timed inside C, as the engine calls them, by a loop that is compiled into a temporary
directory; requests come in random order, so that large tables pay for their cache misses. The largest table is built
with everything that a route's match holds, and its memory is the growth of the process.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from types import ModuleType

from bascule.match.route_match import RouteMatch
from bascule.match.router import MODES, Router

LOOP = """
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from bascule.match.router cimport Router

def run(Router router, list requests, int rounds):
    cdef bytes host, path
    cdef int i
    cdef Py_ssize_t missed = 0
    for i in range(rounds):
        for host, path in requests:
            if router.find(PyBytes_AS_STRING(host), PyBytes_GET_SIZE(host),
                           PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path), 1, None) is None:
                missed += 1
    return missed

def nothing(list requests, int rounds):
    cdef bytes host, path
    cdef int i
    for i in range(rounds):
        for host, path in requests:
            PyBytes_AS_STRING(host)[0]
            PyBytes_AS_STRING(path)[0]
"""
FINDS = 400_000


def compiled_loop(directory: Path) -> ModuleType:
    """The timing loop as an extension module."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension  # type: ignore[import-untyped]
    from setuptools.command.build_ext import build_ext  # type: ignore[import-untyped]

    source = directory / "match_loop.pyx"
    source.write_text(LOOP)
    extension = Extension("match_loop", [str(source)], extra_compile_args=["-O3"])
    command = build_ext(
        Distribution({"ext_modules": cythonize([extension], build_dir=str(directory), language_level=3, quiet=True)})
    )
    command.build_lib, command.build_temp = str(directory), str(directory)
    command.ensure_finalized()
    command.run()
    spec = importlib.util.spec_from_file_location("match_loop", next(directory.glob("match_loop*.so")))
    if spec is None or spec.loader is None:
        raise SystemExit("bench: the timing loop can't be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def route(number: int, hosts: int, parameters: bool) -> tuple[RouteMatch, tuple[bytes, bytes]]:
    """A route and a request for it: prefixes of three segments, as APIs have them."""
    host = f"host{number % hosts}.example.com"
    uri, path = f"/team{number % 97}/service{number}/v1/*", f"/team{number % 97}/service{number}/v1/items/42"
    if parameters:
        uri = f"/team{number % 97}/service{number}/v1/:collection/:id"
    return RouteMatch((uri,), (host,) if hosts else ()), (host.encode(), path.encode())


def table(mode: str, count: int, hosts: int) -> tuple[Router[int], list[tuple[bytes, bytes]]]:
    router: Router[int] = Router(mode)
    requests = []
    for number in range(count):
        match, request = route(number, hosts, mode == MODES[2])
        router.add(str(number), match, number)
        requests.append(request)
    return router, requests


def find_ns(loop: ModuleType, router: Router[int], requests: list[tuple[bytes, bytes]]) -> float:
    """Nanoseconds of one find, the loop itself taken off; best of five, since noise only adds."""
    asked = Random(1).choices(requests, k=20_000)
    rounds = FINDS // len(asked)
    if loop.run(router, asked, 1):
        raise SystemExit("bench: a request found no route")

    def best(work: Callable[[], object]) -> float:
        times = []
        for _ in range(5):
            began = time.process_time_ns()
            work()
            times.append(time.process_time_ns() - began)
        return min(times) / (rounds * len(asked))

    return best(lambda: loop.run(router, asked, rounds)) - best(lambda: loop.nothing(asked, rounds))


def changes_us(router: Router[int], count: int, mode: str) -> dict[str, list[float]]:
    """Microseconds of each change of one route, for a thousand routes."""
    times: dict[str, list[float]] = {"replace": [], "remove": [], "add": []}
    for number in Random(2).sample(range(count), min(count, 1000)):
        key = str(number)
        match, _ = route(number, 1000, mode == MODES[2])
        other = RouteMatch((f"/moved/{number}/*",), match.hosts)
        changes: list[tuple[str, Callable[..., None], tuple[object, ...]]] = [
            ("replace", router.replace, (key, other, number)),
            ("replace", router.replace, (key, match, number)),
            ("remove", router.remove, (key,)),
            ("add", router.add, (key, match, number)),
        ]
        for name, work, arguments in changes:
            began = time.perf_counter_ns()
            work(*arguments)
            times[name].append((time.perf_counter_ns() - began) / 1000)
    return times


def memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as directory:
        loop = compiled_loop(Path(directory))
    print("find, ns                        1 route   100/10 hosts   10,000/1,000 hosts")
    for mode in MODES:
        figures = [find_ns(loop, *table(mode, *size)) for size in ((1, 1), (100, 10), (10_000, 1000))]
        print(f"  {mode:28} {figures[0]:8.0f} {figures[1]:14.0f} {figures[2]:20.0f}")
    for mode in MODES:
        gc.collect()
        before, began = memory_mb(), time.process_time()
        router, requests = table(mode, count, 1000)
        seconds = time.process_time() - began
        print(f"{count:,} routes, {mode}: {seconds:.2f} s, {memory_mb() - before:.0f} MB, {router.nodes():,} nodes")
        print(f"  find {find_ns(loop, router, requests):.0f} ns")
        for name, times in changes_us(router, count, mode).items():
            print(f"  {name}: median {median(times):.1f} µs, worst of {len(times)}: {max(times):.0f} µs")
        del router, requests


if __name__ == "__main__":
    main()
