"""What the tables cost: 100,000 routes compiled, one of them replaced, an upstream changed under all of them.

    python bench/micro_snapshot.py [ROUTES]

Times are CPU time. The plugins are as small as can be, so that the figures are the tables' own and not some plugin's.
"""

from __future__ import annotations

import gc
import sys
import time
from statistics import median
from typing import Any

from bascule.model.change import Change
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.registry import UnknownPlugin
from bascule.snapshot.tables import Tables


class Bare:
    """A plugin's host with nothing in it."""

    def __init__(self, plugin: str, holder: str) -> None:
        self.plugin = plugin
        self.holder = holder


class Key(Plugin):
    name = "key-auth"
    priority = 2500

    class Config(Config):
        header: str = "apikey"

    def rewrite(self, request: Any) -> None:
        return None


class Limit(Plugin):
    name = "limit-count"
    priority = 1002

    class Config(Config):
        count: int
        time_window: int
        key: str = "remote_addr"

    def access(self, request: Any) -> None:
        return None


class Two:
    def get(self, name: str) -> type[Plugin]:
        for plugin in (Key, Limit):
            if plugin.name == name:
                return plugin
        raise UnknownPlugin(name)

    def names(self) -> list[str]:
        return ["key-auth", "limit-count"]


def route(number: int, version: int = 0) -> Change:
    value: dict[str, Any] = {
        "id": str(number),
        "name": f"route-{number}",
        "uri": f"/api/v{version}/things/{number}/*",
        "host": f"host{number % 1000}.example.com",
        "methods": ["GET", "POST"],
    }
    if number % 10 < 5:
        value["upstream_id"] = str(number % 100)
    elif number % 10 < 9:
        value["service_id"] = str(number % 100)
    else:
        value["upstream"] = {"type": "roundrobin", "nodes": {f"10.0.{number % 250}.1:8080": 1}}
    if number % 5 == 0:
        value["plugins"] = {"key-auth": {}, "limit-count": {"count": 10, "time_window": 60}}
    return Change("routes", str(number), value)


def upstream(number: int, weight: int = 1) -> Change:
    value = {"type": "roundrobin", "nodes": {f"10.1.0.{number}:80": weight, f"10.1.1.{number}:80": 1}}
    return Change("upstreams", str(number), value)


def rss_mb() -> float:
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    tables = Tables(Two(), Bare)  # type: ignore[arg-type]
    before = rss_mb()
    tables.apply([upstream(number) for number in range(100)])
    tables.apply([Change("services", str(n), {"upstream_id": str(n), "name": f"s{n}"}) for n in range(100)])
    changes = [route(number) for number in range(count)]
    loaded = rss_mb()
    started = time.thread_time()
    applied = tables.apply(changes)
    took = time.thread_time() - started
    assert not applied.errors, applied.errors[0]
    print(f"{count} routes: {took:.2f} s, {took / count * 1e6:.1f} us each")
    print(f"RSS {before:.0f} MB before; values {loaded - before:+.0f} MB; tables {rss_mb() - loaded:+.0f} MB")
    del changes
    gc.collect()
    print(f"RSS {rss_mb():.0f} MB after the values are gone")

    def timed(label: str, steps: list[list[Change]]) -> None:
        times = []
        for step in steps:
            started = time.thread_time()
            tables.apply(step)
            times.append((time.thread_time() - started) * 1e6)
        print(f"{label}: median {median(times):.0f} us, worst {max(times):.0f} us")

    numbers = [number * 37 % count for number in range(500)]
    timed("replace one route", [[route(number, 1)] for number in numbers])
    timed("the same again", [[route(number, 1)] for number in numbers])
    timed("delete one route", [[Change("routes", str(number), None)] for number in numbers])
    timed("add one route", [[route(number)] for number in numbers])
    timed(f"change an upstream of {count // 100} routes", [[upstream(number, 5)] for number in range(20)])
    rules = [{"plugins": {}}, {"plugins": {"limit-count": {"count": 1, "time_window": 1}}}]
    timed("change a global rule", [[Change("global_rules", "1", rules[n % 2])] for n in range(20)])


if __name__ == "__main__":
    main()
