"""How fast a write of the Admin API is served, and what writing costs the traffic beside it."""

import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from bench.speed import Bench
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import RawClient

KEY = "bench"
ROUTES = 10_000
WORKERS = 2
WRITERS = 32
SINGLE = 500  # writes one after the other, each timed and looked at
RATE = 1_000  # writes per second beside the traffic
TRAFFIC = 1_000  # requests per second beside the writes


class Falsehood(Exception):
    """A write was acknowledged as served by every worker, and a request met the old version."""


def route(number: int, version: int) -> dict[str, Any]:
    """One that answers by itself, with its version in the answer."""
    return {
        "uri": f"/r/{number}/*",
        "plugins": {"redirect": {"uri": f"/v/{version}", "ret_code": 302}},
    }


async def _put(session: aiohttp.ClientSession, number: int, version: int) -> bool:
    """Whether every worker serves it."""
    async with session.put(f"routes/{number}", data=json.dumps(route(number, version))) as answer:
        await answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"PUT answered {answer.status}")
        return "X-Bascule-Applied" not in answer.headers


async def fill(session: aiohttp.ClientSession) -> float:
    """ROUTES routes by WRITERS writers; writes per second."""
    numbers = iter(range(ROUTES))

    async def writer() -> None:
        for number in numbers:
            await _put(session, number, 0)

    began = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    return ROUTES / (time.perf_counter() - began)


def _version(port: int, number: int) -> int:
    with RawClient(port) as client:
        answer = client.request("GET", f"/r/{number}/x")
        return int((answer.header("location") or "/-1").rpartition("/")[2])


async def single(session: aiohttp.ClientSession, port: int) -> list[float]:
    """Milliseconds from the request to the answer, which says that every worker serves the write; that is checked by
    requests on new connections. Raises Falsehood."""
    times = []
    for count in range(SINGLE):
        number = count * 17 % ROUTES
        began = time.perf_counter()
        applied = await _put(session, number, count + 1)
        times.append((time.perf_counter() - began) * 1e3)
        if not applied:
            raise Falsehood(f"write {count} was not served within the time that an answer waits")
        for _ in range(3):
            if (found := await asyncio.to_thread(_version, port, number)) != count + 1:
                raise Falsehood(f"write {count + 1} of route {number} was acknowledged, version {found} was served")
    return times


async def pace(session: aiohttp.ClientSession, rate: float, seconds: float) -> tuple[int, list[float]]:
    """Writes at a steady rate; how many were done, and the milliseconds of each."""
    times: list[float] = []
    running: set[asyncio.Task[None]] = set()
    began = time.perf_counter()

    async def one(count: int) -> None:
        start = time.perf_counter()
        await _put(session, count * 31 % (ROUTES - 1) + 1, count)
        times.append((time.perf_counter() - start) * 1e3)

    count = 0
    while (now := time.perf_counter() - began) < seconds:
        while count < now * rate and len(running) < 200:
            task = asyncio.ensure_future(one(count))
            running.add(task)
            task.add_done_callback(running.discard)
            count += 1
        await asyncio.sleep(0.001)
    await asyncio.gather(*running)
    return len(times), times


async def traffic(port: int, seconds: int, directory: Path) -> dict[str, float]:
    """Requests per second, and milliseconds of p50, p99 and the slowest, of four connections that ask route 0 at
    TRAFFIC requests a second together: far from what the machine can do, so that waiting shows."""
    log = directory / "h2load.log"
    log.unlink(missing_ok=True)
    argv = ["h2load", "--h1", "-t1", "-c4", f"--rps={TRAFFIC // 4}", f"-D{seconds}", f"--log-file={log}"]
    process = await asyncio.create_subprocess_exec(*argv, f"http://127.0.0.1:{port}/r/0/x", stdout=subprocess.DEVNULL)
    if await process.wait() != 0:
        raise RuntimeError("h2load failed")
    lines = [line.split() for line in log.read_text().splitlines()]
    if bad := {line[1] for line in lines} - {"302"}:
        raise RuntimeError(f"the traffic beside was answered with {bad}")
    times = sorted(int(line[2]) / 1e3 for line in lines)
    return {
        "per_s": len(times) / seconds,
        "p50_ms": statistics.median(times),
        "p99_ms": times[int(len(times) * 0.99)],
        "p999_ms": times[int(len(times) * 0.999)],
        "max_ms": times[-1],
    }


async def _measure(gateway: Gateway, admin_port: int, directory: Path) -> dict[str, Any]:
    base = f"http://127.0.0.1:{admin_port}/apisix/admin/"
    connector = aiohttp.TCPConnector(limit=WRITERS)
    async with aiohttp.ClientSession(base, headers={"X-API-KEY": KEY}, connector=connector) as session:
        filled = await fill(session)
        times = sorted(await single(session, gateway.port))
        before = await traffic(gateway.port, 8, directory)
        beside, (done, paced) = await asyncio.gather(traffic(gateway.port, 8, directory), pace(session, RATE, 8))
        paced.sort()
        return {
            "routes": ROUTES,
            "workers": WORKERS,
            "concurrent_writes_per_s": filled,
            "single_p50_ms": statistics.median(times),
            "single_p99_ms": times[int(len(times) * 0.99)],
            "single_max_ms": times[-1],
            "paced_writes_per_s": done / 8,
            "paced_p99_ms": paced[int(len(paced) * 0.99)],
            "traffic_alone": before,
            "traffic_beside_writes": beside,
        }


def live() -> dict[str, Any]:
    """Raises Falsehood when a write was acknowledged and not served."""
    admin_port = free_port()
    listen = {"ip": "127.0.0.1", "port": admin_port}
    config = {
        "deployment": {"role": "traditional", "admin": {"admin_listen": listen, "admin_key": [{"key": KEY}]}},
        "nginx_config": {"error_log_level": "warn", "http": {"enable_access_log": False}},
    }
    with tempfile.TemporaryDirectory(prefix="bascule-propagation-") as directory:
        gateway = Gateway(Path(directory) / "gateway", config=config, workers=WORKERS)
        try:
            return asyncio.run(_measure(gateway, admin_port, Path(directory)))
        finally:
            gateway.stop()


def propagation(bench: Bench) -> dict[str, Any]:
    """Writes of the Admin API: until they are served by every worker, and what they cost the traffic."""
    return {"kind": "propagation", **live()}


if __name__ == "__main__":
    print(json.dumps(live(), indent=2))
