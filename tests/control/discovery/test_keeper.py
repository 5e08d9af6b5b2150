import asyncio
import http.client
import itertools
import json
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from bascule.control.configuration import pack
from bascule.control.discovery import discovery as module
from bascule.control.discovery.discovery import DiscoveredNode, Service
from bascule.control.discovery.keeper import DiscoveryKeeper, upstream_key
from bascule.control.launch import Launch
from bascule.model.change import Change
from bascule.model.config_yaml import parse_settings
from bascule.observe.metrics import Metrics
from tests.control.discovery.telling import Told
from tests.servers.dnsmasq import Dnsmasq
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port

WEB = Service("file", "web")
UP = {"service_name": "web", "discovery_type": "file"}
A, B = DiscoveredNode("127.0.0.1", 1), DiscoveredNode("127.0.0.1", 2)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.01)


class Kept:
    """A keeper, what it told workers, and the configuration that it was given."""

    def __init__(self, folder: Path, section: dict[str, Any]) -> None:
        self.told = Told()
        self.folder = folder
        self.observed: list[Any] = []
        self.keeper = DiscoveryKeeper(self.told.add, launch(folder, section), {})
        self.keeper.on_nodes.append(lambda key, nodes: self.observed.append((key, nodes)))
        self.versions: dict[tuple[str, str], list[Any]] = {}

    def write(self, **services: Any) -> None:
        fresh = self.folder / "nodes.new"
        fresh.write_text(json.dumps(services))
        os.replace(fresh, self.folder / "nodes.json")

    async def take(self, *changes: Change, wait_s: float = 15) -> None:
        await self.keeper.take(changes, wait_s)
        for change in changes:
            self.versions[change.kind, change.id] = [] if change.value is None else [pack(change)]
        self.keeper.settle(changes, lambda kind, id: self.versions[kind, id])


def launch(folder: Path, section: dict[str, Any]) -> Launch:
    settings = parse_settings(yaml.safe_dump({"discovery": section}).encode(), None, {})
    return Launch(settings, 1, (), str(folder), str(folder), store_folder=str(folder / "data"))


FILE = {"file": {"path": "nodes.json", "check_interval": 0.05}}


def play(folder: Path, script: Any, section: Any = None) -> None:
    async def run() -> None:
        kept = Kept(folder, FILE if section is None else section)
        try:
            await asyncio.wait_for(script(kept), 40)
        finally:
            await kept.keeper.close()

    asyncio.run(run())


def test_keys_of_upstreams():
    assert upstream_key(("upstreams", "1", "")) == "upstreams/1"
    assert upstream_key(("routes", "5", "upstream")) == "routes/5#upstream"


def test_nodes_are_known_before_the_change_that_needs_them(tmp_path):
    async def script(kept):
        kept.write(web={"127.0.0.1:1": 1}, other={"127.0.0.1:9": 1})
        await kept.take(Change("upstreams", "1", UP), Change("routes", "1", {"uri": "/", "upstream_id": "1"}))
        assert kept.told.all == [{WEB: (A,)}]
        assert kept.keeper.answers == {WEB: (A,)}
        await kept.take(Change("routes", "2", {"uri": "/2", "upstream": UP}))
        assert len(kept.told.all) == 1  # it is known
        kept.observed.clear()
        kept.write(web={"127.0.0.1:1": 1, "127.0.0.1:2": 1})
        await kept.told.until(lambda one: one == {WEB: (A, B)})
        assert sorted(kept.observed) == [("routes/2#upstream", (A, B)), ("upstreams/1", (A, B))]

    play(tmp_path, script)


def test_an_observer_that_fails_is_named_and_holds_nobody_up(tmp_path, caplog):
    def fail(key, nodes):
        raise LookupError("no such thing")

    async def script(kept):
        kept.keeper.on_nodes.insert(0, fail)
        kept.write(web={"127.0.0.1:1": 1})
        await kept.take(Change("upstreams", "1", UP))
        kept.write(web={"127.0.0.1:2": 1})
        await kept.told.until(lambda told: told.get(WEB) == (B,))
        assert kept.observed[-1] == ("upstreams/1", (B,))
        text = "internal error: LookupError: no such thing"
        assert kept.keeper.details()["file"]["troubles"] == [{"source": "upstreams/1", "message": text}]
        assert "upstreams/1: internal error while the nodes of file web were passed on" in caplog.text
        kept.keeper.on_nodes.remove(fail)
        kept.write(web={"127.0.0.1:1": 1})
        await kept.told.until(lambda told: told.get(WEB) == (A,))
        assert kept.keeper.details()["file"]["troubles"] == []

    play(tmp_path, script)


def test_what_nobody_names_any_more_is_forgotten(tmp_path):
    async def script(kept):
        kept.write(web={"127.0.0.1:1": 1})
        await kept.take(Change("upstreams", "1", UP), Change("services", "2", {"upstream": UP}))
        await kept.take(Change("upstreams", "1", None))
        assert kept.observed[-1] == ("upstreams/1", None)
        assert kept.keeper.answers == {WEB: (A,)}
        await kept.take(Change("services", "2", {"upstream": {"nodes": {"a": 1}}}))
        assert kept.keeper.answers == {}
        assert kept.observed[-1] == ("services/2#upstream", None)
        assert repr(kept.keeper) == "<discovery keeper: 0 services, ['file']>"

    play(tmp_path, script)


def test_a_change_does_not_wait_for_ever(tmp_path):
    async def script(kept):
        # The server never answers: nobody reads this port.
        began = time.monotonic()
        await kept.take(Change("upstreams", "1", {**UP, "discovery_type": "dns"}), wait_s=0.05)
        assert time.monotonic() - began < 4
        assert kept.keeper.answers == {}

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        play(tmp_path, script, {"dns": {"servers": [f"127.0.0.1:{mute.getsockname()[1]}"]}})


def test_lists_outlast_a_restart(tmp_path):
    async def first(kept):
        kept.write(web={"127.0.0.1:1": 1})
        await kept.take(Change("upstreams", "1", UP))

    async def second(kept):
        (tmp_path / "nodes.json").unlink()
        await kept.take(Change("upstreams", "1", UP))
        assert kept.keeper.answers == {WEB: (A,)}
        assert kept.keeper.details()["file"]["kept"] == 1
        assert kept.keeper.dump_file("file")["services"][0]["name"] == "web"
        assert kept.keeper.dump_file("dns") is None
        metrics = Metrics()
        kept.keeper.set_metrics(metrics)
        text = metrics.render().decode()
        assert 'bascule_discovery_kept{type="file"} 1' in text
        assert 'bascule_discovery_nodes{type="file"} 1' in text

    play(tmp_path, first)
    play(tmp_path, second)


def test_another_configuration_keeps_the_lists(tmp_path):
    async def script(kept):
        kept.write(web={"127.0.0.1:1": 1})
        await kept.take(Change("upstreams", "1", UP))
        types = kept.keeper.types
        kept.keeper.configure({"file": {"path": "none.json"}}, list)
        assert kept.keeper.answers == {WEB: (A,)}
        (tmp_path / "nodes2.json").write_text('{"web": {"127.0.0.1:2": 1}}')
        kept.keeper.configure({"file": {"path": "nodes2.json"}}, list)
        await kept.told.until(lambda one: one == {WEB: (B,)})
        kept.keeper.configure({}, list)
        assert (kept.keeper.answers, kept.keeper.types, kept.keeper.dump("file")) == ({}, set(), None)
        kept.keeper.configure(FILE, list)
        assert types == {"file"}
        await kept.told.until(lambda one: one == {WEB: (A,)})

    play(tmp_path, script)


def test_the_first_registry_that_is_configured_while_the_gateway_runs(tmp_path):
    async def script(kept):
        kept.write(web={"127.0.0.1:1": 1})
        change = Change("upstreams", "1", UP)
        await kept.take(change)
        assert (kept.told.all, kept.keeper.answers) == ([], {})
        kept.keeper.configure(FILE, lambda: [change])
        await kept.told.until(lambda one: one == {WEB: (A,)})
        await kept.take(Change("upstreams", "1", None))
        assert kept.keeper.answers == {}

    play(tmp_path, script, {})


def test_dumps_as_consul_has_them(tmp_path):
    dump = {"path": "consul.dump", "expire": 10}
    section = {"consul": {"servers": [f"http://127.0.0.1:{free_port()}"], "dump": dump}}
    change = Change("upstreams", "1", {**UP, "discovery_type": "consul"})
    path = tmp_path / "consul.dump"

    def write(age_s):
        services = {"web": [{"host": "127.0.0.1", "port": 1, "weight": 1}]}
        path.write_text(json.dumps({"services": services, "last_update": time.time() - age_s, "expire": 10}))

    def expect(*nodes):
        async def script(kept):
            await kept.take(change)
            assert kept.keeper.nodes(Service("consul", "web")) == nodes

        play(tmp_path, script, section)

    expect()
    write(1)
    expect(A)
    assert json.loads(path.read_text())["services"]["web"][0]["port"] == 1
    write(60)
    expect()
    write(1)
    dump["load_on_init"] = False
    expect()
    dump["load_on_init"] = True
    path.write_text("garbage")
    expect()


# ---- the whole gateway


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def until(condition: Any, limit_s: float = 20) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it doesn't come"
        time.sleep(0.01)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discovery")
    dns = Dnsmasq(folder / "dns", "host-record=web.test,127.0.0.1")
    (folder / "gateway").mkdir()
    (folder / "gateway" / "nodes.yaml").write_text("empty: {}\n")
    resources = {
        "upstreams": [{"id": "web", **UP}],
        "routes": [
            {"id": "1", "uri": "/file", "upstream_id": "web"},
            {"id": "2", "uri": "/dns", "upstream": {"service_name": "web.test:1", "discovery_type": "dns"}},
        ],
    }
    config = {
        "discovery": {
            "file": {"path": "nodes.yaml", "check_interval": 0.05},
            "dns": {"servers": [dns.address]},
        }
    }
    gateway = Gateway(folder / "gateway", resources, config, workers=2)
    yield gateway, dns
    gateway.stop()
    dns.stop()


def write_nodes(gateway: Gateway, services: Any) -> None:
    fresh = gateway.directory / "nodes.new"
    fresh.write_text(json.dumps(services))
    os.replace(fresh, gateway.directory / "nodes.yaml")


def test_traffic_follows_the_nodes(place, raw_upstream):
    gateway, _ = place
    first, second = raw_upstream(), raw_upstream()
    assert ask(gateway.port, "/file")[0] == 503
    write_nodes(gateway, {"web": {first.address: 1}})
    until(lambda: ask(gateway.port, "/file")[0] == 200)
    write_nodes(gateway, {"web": {second.address: 1}})
    until(lambda: ask(gateway.port, "/file")[0] == 200 and second.connections)
    details = gateway.status("/status/details")[1]["discovery"]
    assert (details["file"]["services"], details["file"]["nodes"]) == (1, 1)


def test_addresses_of_nodes_that_went_are_forgotten(place):
    gateway, _ = place
    for number in range(2, 22):
        address = f"127.0.1.{number}"
        write_nodes(gateway, {"web": {f"{address}:1": 1}})
        until(lambda address=address: f'"{address}"' in ask(gateway.control_port, "/v1/discovery/file/dump")[1])
        until(lambda address=address: address in used(gateway))

    def held():
        return int(re.search(r"^bascule_upstream_endpoints (\d+)", gateway.metrics(), re.M)[1])

    until(lambda: held() <= 2 * 3)  # of two workers


def used(gateway):
    """The node that a request was sent to."""
    assert ask(gateway.port, "/file")[0] in (200, 502)
    return gateway.access_log().splitlines()[-1]


def test_the_control_api_and_metrics_show_them(place, raw_upstream):
    gateway, dns = place
    status, text = ask(gateway.control_port, "/v1/discovery/dns/dump")
    assert status == 200
    assert json.loads(text)["services"] == {"web.test:1": [{"host": "127.0.0.1", "port": 1, "weight": 1}]}
    assert json.loads(text)["config"]["servers"] == [dns.address]
    assert ask(gateway.control_port, "/v1/discovery/consul/dump")[0] == 404
    kept = until(lambda: (found := ask(gateway.control_port, "/v1/discovery/dns/show_dump_file"))[0] == 200 and found)
    assert json.loads(kept[1])["services"][0]["name"] == "web.test:1"
    assert 'bascule_discovery_services{type="dns"} 1' in gateway.metrics()


def test_a_restart_while_the_name_server_is_away(place):
    gateway, dns = place
    assert ask(gateway.port, "/dns")[0] == 502  # nobody listens there
    until(lambda: ask(gateway.control_port, "/v1/discovery/dns/show_dump_file")[0] == 200)
    dns.stop()
    gateway.restart()
    assert ask(gateway.port, "/dns")[0] == 502

    def details():
        return gateway.status("/status/details")[1]["discovery"]["dns"]

    assert (details()["kept"], details()["nodes"]) == (1, 1)
    until(lambda: details()["troubles"])  # soon: that there is no answer yet
    until(lambda: details()["troubles"][0]["message"].startswith("web.test SRV: "), limit_s=40)
    dns.use("host-record=web.test,127.0.0.2")
    until(lambda: details()["kept"] == 0)


def test_no_request_fails_while_nodes_change(place, raw_upstream):
    gateway, _ = place
    peers = [raw_upstream() for _ in range(3)]
    end = threading.Event()

    def change():
        for number in itertools.count():
            write_nodes(gateway, {"web": {peers[number % 3].address: 1, peers[(number + 1) % 3].address: 1}})
            if end.wait(0.06):
                return

    thread = threading.Thread(target=change)
    thread.start()
    try:
        until(lambda: ask(gateway.port, "/file")[0] == 200)
        before = gateway.status("/status/details")[1]["discovery"]["file"]["updates"]
        with gateway.client() as client:
            until(lambda: client.request("GET", "/file").status != 200 or updates(gateway) > before + 20)
            assert client.request("GET", "/file").status == 200
    finally:
        end.set()
        thread.join()
    assert all(len(peer.connections) > 0 for peer in peers)


def updates(gateway):
    return gateway.status("/status/details")[1]["discovery"]["file"]["updates"]


def test_sighup_changes_what_is_asked(place, raw_upstream):
    gateway, _ = place
    (gateway.directory / "other.json").write_text(json.dumps({"web": {raw_upstream().address: 1}}))
    write_nodes(gateway, {"web": {"127.0.0.1:1": 1}})
    until(lambda: ask(gateway.port, "/file")[0] == 502)
    gateway.configure({"discovery": {"file": {"path": "other.json"}, "consul": {"servers": ["http://127.0.0.1:1"]}}})
    gateway.process.popen.send_signal(signal.SIGHUP)
    until(lambda: ask(gateway.port, "/file")[0] == 200)
    until(lambda: set(gateway.status("/status/details")[1]["discovery"]) == {"file", "dns", "consul"})


def test_a_type_that_is_not_configured_is_refused(place):
    gateway, _ = place
    gateway.write({"upstreams": [{"id": "web", **UP, "discovery_type": "files"}]})
    message = '"files" is not configured under "discovery"; did you mean "file"?'
    until(lambda: message in str(gateway.status("/status/details")[1]["refused"]))
