import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bascule.admin.administration import Administration
from bascule.plugin.kit.testing import MemoryCounters, MemoryHost, Result, Upstream, get, make, run
from bascule.plugins.canary_release import CanaryRelease
from tests.admin.desk import WISH, with_desk
from tests.plugins.faults import fault_paths
from tests.servers.gateway import Gateway
from tests.servers.raw import RawConnection, RawUpstream, response

UP = {"nodes": {"canary:1": 1}}
STEPS = [{"weight": 12.5, "duration": 60}, {"weight": 50, "duration": 60}, {"weight": 100}]
QUICK = {"min_requests": 10, "window": 10}


def conf(**changes: Any) -> dict[str, Any]:
    return {"upstream": UP, "steps": STEPS, "bounds": QUICK} | changes


def started(host: MemoryHost | None = None, **changes: Any) -> tuple[CanaryRelease, MemoryHost]:
    host = host or MemoryHost("canary-release")
    plugin = make(CanaryRelease, conf(**changes), host)
    assert isinstance(plugin, CanaryRelease)
    host.advance(0)
    return plugin, host


def at(weight: float, **changes: Any) -> CanaryRelease:
    return started(steps=[{"weight": weight}], **changes)[0]


def to_canary(result: Result) -> bool:
    return result.upstream.chosen is not None


def answering(canary_status: int) -> Callable[[Any], Upstream]:
    """The canary answers so, the stable version with 200."""
    return lambda sent: Upstream(200 if sent.chosen is None else canary_status)


def ask(plugin: CanaryRelease, target: str = "/", status: int = 200, seconds: float = 0.02, **options: Any) -> Result:
    variables = {"response_source": "upstream", "upstream_response_time": seconds}
    return run(plugin, get(target, variables=variables, **options), upstream=answering(status))


def serve(plugin: CanaryRelease, host: MemoryHost, seconds: int, canary_status: int = 200) -> Counter[bool]:
    """20 requests each second."""
    found: Counter[bool] = Counter()
    for _ in range(seconds):
        for _ in range(20):
            request = get("/", variables={"response_source": "upstream", "upstream_response_time": 0.02})
            found[to_canary(run(plugin, request, upstream=answering(canary_status)))] += 1
        host.advance(1)
    return found


# --- shares and who gets what


@pytest.mark.parametrize("weight", [0, 0.5, 12.5, 33.3, 50, 99, 100])
def test_shares_are_exact(weight: float) -> None:
    plugin = at(weight)
    found = sum(to_canary(ask(plugin)) for _ in range(2000))
    assert abs(found - 20 * weight) <= 1


@pytest.mark.parametrize("sticky", [{"key": "arg_user"}, {"cookie": "place"}])
def test_shares_of_users_are_near(sticky: dict[str, Any]) -> None:
    plugin = at(20, sticky=sticky)
    found = sum(to_canary(ask(plugin, f"/?user={n}")) for n in range(10_000))
    assert abs(found - 2000) <= (50 if "cookie" in sticky else 150)


def test_a_user_stays_while_the_share_grows() -> None:
    shares = [at(weight, sticky={"key": "arg_user"}) for weight in (0, 5, 20, 60, 100)]
    for user in range(200):
        had = [to_canary(ask(plugin, f"/?user={user}")) for plugin in shares for _ in range(2)]
        assert had == sorted(had)


def test_a_user_without_a_key_takes_turns() -> None:
    plugin = at(50, sticky={"key": "arg_user"})
    assert sum(to_canary(ask(plugin)) for _ in range(10)) == 5


def test_a_cookie_tells_a_users_place() -> None:
    plugin = at(30, sticky={"cookie": "place", "max_age": 3600})
    result = ask(plugin)
    name, _, rest = (result.header("Set-Cookie") or "").partition("=")
    place, _, attributes = rest.partition("; ")
    assert (name, attributes) == ("place", "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax")
    assert to_canary(result) is (int(place) < 3000)
    secure = ask(plugin, "https://gateway.test/").header("Set-Cookie") or ""
    assert secure.endswith("; HttpOnly; SameSite=Lax; Secure")
    for value, expected in (("0", True), ("2999", True), ("3000", False), ("9999", False)):
        again = ask(plugin, headers={"Cookie": f"a=b; place={value}"})
        assert (to_canary(again), again.header("Set-Cookie")) == (expected, None)
    for junk in ("", "-1", "12345", "x", "1.5"):
        assert ask(plugin, headers={"Cookie": f"place={junk}"}).header("Set-Cookie") is not None


def test_pins_beat_shares() -> None:
    pins = [{"header": "X-Version", "canary": ["next", "2"], "stable": ["1"]}, {"cookie": "version"}]
    for weight in (0, 100):
        plugin = at(weight, pin=pins, sticky={"cookie": "place"})
        for headers, expected in (
            ({"X-Version": "next"}, True),
            ({"X-Version": "2"}, True),
            ({"X-Version": "1", "Cookie": "version=canary"}, False),
            ({"Cookie": "version=canary"}, True),
            ({"Cookie": "version=stable"}, False),
            ({"X-Version": "3"}, weight == 100),
        ):
            assert to_canary(ask(plugin, headers=headers)) is expected


def test_the_version_is_a_variable() -> None:
    assert ask(at(100)).request.var("release_version") == "canary"
    assert ask(at(0)).request.var("release_version") == "stable"


# --- the progress


def test_steps_metrics_and_log(caplog: pytest.LogCaptureFixture) -> None:
    plugin, host = started(release="v2")
    assert 'routes/1: release "v2" begins: step 1 of 3, 12.5% of the requests' in caplog.text
    assert serve(plugin, host, 58)[True] == 20 * 58 / 8
    serve(plugin, host, 7)
    found = serve(plugin, host, 50)
    assert abs(found[True] - 500) <= 1
    text = host.metrics.render().decode()
    for line in (
        'bascule_canary_weight{holder="routes/1"} 50',
        'bascule_canary_step{holder="routes/1"} 2',
        'bascule_canary_state{holder="routes/1",state="running"} 1',
        'bascule_canary_state{holder="routes/1",state="rolled_back"} 0',
        'bascule_canary_verdict{holder="routes/1",verdict="good"} 1',
    ):
        assert line in text
    plugin.close()
    assert 'bascule_canary_weight{holder="routes/1"} 0' in host.metrics.render().decode()
    assert not [timer for timer in host.timers if not timer.cancelled]


def test_errors_roll_it_back(caplog: pytest.LogCaptureFixture) -> None:
    plugin, host = started()
    serve(plugin, host, 10, canary_status=500)
    assert serve(plugin, host, 100) == {False: 2000}
    [record] = [record for record in caplog.records if "rolled back" in record.message]
    assert record.levelname == "ERROR"
    assert "rolled back from step 1 of 3, 12.5% of the requests: 100.0% of" in record.message
    text = host.metrics.render().decode()
    assert 'bascule_canary_state{holder="routes/1",state="rolled_back"} 1' in text
    assert 'bascule_canary_verdict{holder="routes/1",verdict="errors"} 1' in text
    assert 'bascule_canary_requests{holder="routes/1",version="canary",outcome="error"}' in text
    again, _ = started(host)
    assert not to_canary(ask(again)), "the same configuration, made anew"
    other, _ = started(host, release="fixed")
    assert sum(to_canary(ask(other)) for _ in range(16)) == 2


def test_latency_rolls_it_back() -> None:
    plugin, host = started(steps=[{"weight": 50}], bounds=QUICK | {"max_latency_ratio": 3, "latency_quantile": 0.5})
    for _ in range(40):
        canary = to_canary(ask(plugin, seconds=0.02))
        assert canary in (True, False)
    for _ in range(200):
        request = get("/", headers={}, variables={"response_source": "upstream", "upstream_response_time": 0.2})
        plugin.access(request)
        slow = request.chosen_upstream is not None
        run_log(plugin, request, 200, 0.2 if slow else 0.02)
    host.advance(1)
    assert (plugin.release.state, plugin.release.verdict) == ("rolled_back", "latency")


def run_log(plugin: CanaryRelease, request: Any, status: int, seconds: float | None, source: str = "upstream") -> None:
    request.exchange.variables |= {"status": status, "response_source": source, "upstream_response_time": seconds}
    plugin.log(request)


@pytest.mark.parametrize(
    ("status", "source", "counts"),
    [(200, "upstream", True), (502, "gateway", True), (503, "plugin", False), (499, "gateway", False)],
)
def test_what_says_something_about_a_version(status: int, source: str, counts: bool) -> None:
    plugin, host = started(steps=[{"weight": 100}], bounds=QUICK | {"window": 3600})
    for _ in range(3):
        request = get("/")
        plugin.access(request)
        run_log(plugin, request, status, None, source)
    plugin.log(get("/"))  # another plugin answered before
    text = host.metrics.render().decode()
    outcome = "error" if status >= 500 else "ok"
    line = f'bascule_canary_requests{{holder="routes/1",version="canary",outcome="{outcome}"}} 3'
    assert (line in text) is counts


def test_testers_do_not_count() -> None:
    plugin, host = started(pin=[{"header": "x-version"}])
    for _ in range(50):
        ask(plugin, status=500, headers={"X-Version": "canary"})
    host.advance(1)
    assert plugin.release.state == "running"


def test_statuses_that_are_errors() -> None:
    bounds = QUICK | {"error_statuses": [404], "max_error_rate_difference": 0}
    plugin, host = started(steps=[{"weight": 100}], bounds=bounds)
    for _ in range(20):
        ask(plugin, status=500)
    host.advance(1)
    assert plugin.release.state == "running"
    ask(plugin, status=404)
    host.advance(1)
    assert plugin.release.state == "rolled_back"


def test_two_workers_agree() -> None:
    time_of: list[MemoryHost] = []
    counters = MemoryCounters(lambda: time_of[0].time)
    hosts = [
        MemoryHost("canary-release", counters=counters, settings={"worker_id": worker}, seed=worker)
        for worker in range(2)
    ]
    time_of.append(hosts[0])
    plugins = [started(host)[0] for host in hosts]
    for second in range(75):
        for plugin, host in zip(plugins, hosts, strict=True):
            for _ in range(10):
                ask(plugin)
            host.advance(1)
        if second % 10 == 9:
            assert plugins[0].release.follow() == plugins[1].release.follow()
    assert [plugin.release.follow() for plugin in plugins] == [50, 50]
    for _ in range(40):
        ask(plugins[0], status=500)
    hosts[0].advance(1)
    assert [plugin.release.follow() for plugin in plugins] == [0, 0]
    assert "bascule_canary_weight" in hosts[0].metrics.render().decode()
    assert "bascule_canary_weight" not in hosts[1].metrics.render().decode()


# --- the configuration


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"upstream": None}, ["$"]),
        ({"upstream_id": "u"}, ["$"]),
        ({"upstream": {"nodes": {"a:0": 1}}}, ['$.upstream.nodes["a:0"]']),
        ({"steps": []}, ["$.steps"]),
        ({"steps": [{"weight": 1}, {"weight": 2}]}, ["$"]),
        ({"steps": [{"weight": 101}]}, ["$.steps[0].weight"]),
        ({"steps": [{"weight": 1, "duration": 0}]}, ["$.steps[0].duration"]),
        ({"bounds": {"window": 0.5, "latency_quantile": 1}}, ["$.bounds.latency_quantile", "$.bounds.window"]),
        ({"bounds": {"max_latency_ratio": 1}}, ["$.bounds.max_latency_ratio"]),
        ({"bounds": {"error_statuses": []}}, ["$.bounds.error_statuses"]),
        ({"pin": [{}]}, ["$.pin[0]"]),
        ({"pin": [{"header": "a", "cookie": "a"}]}, ["$.pin[0]"]),
        ({"pin": [{"header": "a b"}]}, ["$.pin"]),
        ({"sticky": {}}, ["$.sticky"]),
        ({"sticky": {"key": "x", "max_age": 1}}, ["$.sticky"]),
        ({"sticky": {"cookie": "a;b"}}, ["$.sticky.cookie"]),
        ({"retry_after": 0}, ["$.retry_after"]),
    ],
)
def test_refuses(changes: dict[str, Any], paths: list[str]) -> None:
    given = {name: value for name, value in conf(**changes).items() if value is not None}
    assert fault_paths(CanaryRelease, given) == paths


def test_ids_lead_somewhere_and_what_they_name_stays(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        plugin = {"steps": [{"weight": 1}], "upstream_id": "u", "bounds": None}
        route = {"uri": "/", "plugins": {"canary-release": plugin}}
        assert (await desk.put("routes", "1", route, WISH)).status == 400
        await desk.put("upstreams", "u", UP, WISH)
        assert (await desk.put("routes", "1", route, WISH)).status == 201
        assert (await desk.delete("upstreams", "u", WISH)).status == 400

    with_desk(tmp_path, scene)


# --- with the engine


class Version:
    """A server that says its name, and fails once it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fails = False
        self.server = RawUpstream(self.play)

    def play(self, connection: RawConnection) -> None:
        while True:
            connection.read_request()
            status = "500 Internal Server Error" if self.fails else "200 OK"
            connection.send(response(self.name.encode(), status))


@pytest.fixture(scope="module")
def versions() -> Iterator[dict[str, Version]]:
    made = {name: Version(name) for name in ("stable", "canary")}
    yield made
    for one in made.values():
        one.server.stop()


@pytest.fixture(scope="module")
def served(versions: dict[str, Version], module_gateway: Callable[..., Gateway]) -> Gateway:
    stable, canary = ({"nodes": {versions[name].server.address: 1}} for name in ("stable", "canary"))
    release = {
        "upstream_id": "canary",
        "steps": [{"weight": 25, "duration": 1}, {"weight": 75}],
        "bounds": {"min_requests": 20, "window": 1},
    }
    resources = {
        "upstreams": [{"id": "canary", **canary}],
        "routes": [{"id": "1", "uri": "/*", "upstream": stable, "plugins": {"canary-release": release}}],
    }
    return module_gateway(resources, workers=2)


def flood(served: Gateway, until: Callable[[], bool], timeout_s: float = 40) -> None:
    """Requests on new connections, so that both workers get some, until it is so."""
    deadline = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < deadline, served.log
        for _ in range(10):
            with served.client() as client:
                for _ in range(4):
                    client.request("GET", "/")


def test_a_release_goes_on_and_back_in_all_workers(served: Gateway, versions: dict[str, Version]) -> None:
    flood(served, lambda: "goes on: step 2 of 2, 75% of the requests" in served.log)
    assert "release begins: step 1 of 2, 25% of the requests" in served.log
    versions["canary"].fails = True
    flood(served, lambda: "rolled back from step 2 of 2, 75% of the requests" in served.log)
    answers: Counter[str] = Counter()
    for _ in range(40):
        with served.client() as client:
            answers[client.request("GET", "/").body.decode()] += 1
    assert answers == {"stable": 40}
    for told in ("begins:", "goes on:", "rolled back"):
        assert served.log.count(told) == 1, told


def test_a_new_worker_stays_rolled_back(served: Gateway, versions: dict[str, Version]) -> None:
    assert "rolled back" in served.log
    before = served.worker_pids()
    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while len(served.worker_pids()) < 2 or served.worker_pids() == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    versions["canary"].fails = False
    for _ in range(40):
        with served.client() as client:
            assert client.request("GET", "/").body == b"stable"
    deadline = time.monotonic() + 30
    wanted = 'bascule_canary_state{holder="routes/1",state="rolled_back"} 1'
    while wanted not in served.metrics():
        assert time.monotonic() < deadline, served.metrics()
        time.sleep(0.1)
    assert served.log.count("rolled back") == 1
