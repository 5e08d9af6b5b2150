"""A worker whose plugin blocks it for 2 ms a request: so it serves less than 500 a second, however fast the machine."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.gateway import Gateway
from tests.servers.open_load import OpenLoad, Sent
from tests.servers.process import SLOWER

WORK = """
import time

from bascule.plugin import Config, Plugin


class Work(Plugin):
    name = "work"
    priority = 20000

    class Config(Config):
        seconds: float = 0.002

    def rewrite(self, request):
        time.sleep(self.conf.seconds)
"""
OVERLOAD = 1000  # requests a second
WARM_S = 2.5  # until shedding has found its measure
PATIENCE_S = 0.4  # of a client; later answers are of no use to it


@contextmanager
def serving(directory: Path, **shedding: Any) -> Iterator[Gateway]:
    def route(id: str, seconds: float, label: str | None = None, **more: Any) -> dict[str, Any]:
        plugins = {"work": {"seconds": seconds}, "mocking": {"response_example": "done"}}
        labels = {} if label is None else {"labels": {"load-shedding": label}}
        return {"id": id, "uri": f"/{id}", "plugins": plugins, **labels, **more}

    routes = [
        route("normal", 0.002, "normal", service_id="batch"),
        route("first", 0.002, "first"),
        route("last", 0.002, service_id="shop"),
        route("never", 0.002, "never", service_id="shop"),
        route("block", 0.5),
    ]
    services = [{"id": id, "labels": {"load-shedding": word}} for id, word in (("batch", "first"), ("shop", "last"))]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "work.py").write_text(WORK)
    config = {"bascule": {"plugins": [str(directory / "work.py")], "load_shedding": shedding}}
    one = Gateway(directory / "gateway", {"routes": routes, "services": services}, config)
    try:
        yield one
    finally:
        assert one.stop() in (0, -9)
        assert "Traceback" not in one.log


def in_time(sent: list[Sent], warm_s: float = WARM_S) -> float:
    """Requests a second, once the load had lasted for so long."""
    late = [one for one in sent if one.due_s > warm_s]
    return OVERLOAD * sum(one.status == 200 and one.seconds < PATIENCE_S for one in late) / len(late)


def value(served: Gateway, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", served.metrics(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_goodput_under_overload(tmp_path: Path) -> None:
    """More than twice of what the worker can do: with shedding it goes on, without it hardly anything is in time."""
    with serving(tmp_path / "off") as served:
        without = in_time(OpenLoad(served.port, ["/normal"], OVERLOAD, 2, PATIENCE_S).run(), 1.2)
        served.process.kill()  # it would work off its backlog first
    with serving(tmp_path / "on", enabled=True, retry_after=7) as served:
        sent = OpenLoad(served.port, ["/normal"], OVERLOAD, WARM_S + 1.5, 2).run()
        shed = [one for one in sent if one.status == 503]
        assert shed
        assert all(b"\r\nRetry-After: 7\r\n" in one.head and b"Connection: close" not in one.head for one in shed)
        assert "saturated: events wait" in served.log
        assert value(served, 'bascule_shed_requests{class="normal"}') > 0
        assert served.access_log().count('"GET /normal HTTP/1.1" 503')
    # About 450 a second could be served.
    assert in_time(sent) > 2 * without + 100 / SLOWER


def test_classes(tmp_path: Path) -> None:
    with serving(tmp_path, enabled=True) as served:
        paths = ["/first", "/normal", "/first", "/last", "/first", "/never", "/first", "/normal", "/first", "/last"]
        sent = OpenLoad(served.port, paths, 900, WARM_S + 1.5, 2).run()
        came: Counter[str] = Counter()
        shed: Counter[str] = Counter()
        for one in sent:
            if one.due_s > WARM_S and one.status:
                came[one.path] += 1
                shed[one.path] += one.status == 503
        share = {path: shed[path] / came[path] for path in came}
        assert shed["/never"] == 0
        assert share["/first"] > 0.5
        assert share["/last"] - 0.1 <= share["/normal"] <= share["/first"]


def test_below_saturation_nothing_is_shed(tmp_path: Path) -> None:
    """Neither at a fifth of its capacity, nor after turns that take long."""
    with serving(tmp_path, enabled=True, max_lag="200ms") as served:
        paths = ["/normal"] * 50 + ["/block"] + ["/normal"] * 49
        sent = OpenLoad(served.port, paths, 100, 1.8, 5).run()
        assert {one.status for one in sent} == {200}
        assert value(served, 'bascule_worker_shed_share{worker="0"}') == 0
        assert "shedding load" not in served.log
