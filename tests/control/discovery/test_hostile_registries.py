"""Registries that answer garbage, flood, dawdle or break off: a failure in one plain line, and nothing else happens."""

import asyncio
import gzip
import itertools
import json
import time

import pytest

from bascule.control.discovery import http as http_module
from bascule.control.discovery.consul import Consul
from bascule.control.discovery.consul_kv import ConsulKv
from bascule.control.discovery.discovery import DiscoveredNode, DiscoveryFailure, Service
from bascule.control.discovery.dns import Dns
from bascule.control.discovery.eureka import Eureka
from bascule.control.discovery.file import File
from bascule.control.discovery.kubernetes import Kubernetes
from bascule.control.discovery.nacos import Nacos
from bascule.control.discovery.node_list import checked
from tests.control.discovery.telling import LIMIT_S, host
from tests.servers.consul import ConsulAgent

TOKEN = "tell-nobody"


def consul(url):
    return Consul, {"servers": [url], "token": TOKEN}, Service("consul", "web")


def consul_kv(url):
    return ConsulKv, {"servers": [url], "token": TOKEN}, None


def nacos(url):
    signed = {"access_key": "ak", "secret_key": TOKEN}
    return Nacos, {"host": url, **signed}, Service("nacos", "web")


def eureka(url):
    conf = {"host": url.replace("://", f"://me:{TOKEN}@")}
    return Eureka, conf, None


def kubernetes(url):
    _, address, port = url.replace("/", "").split(":")
    return (
        Kubernetes,
        {"service": {"schema": "http", "host": address, "port": port}, "client": {"token": TOKEN}},
        None,
    )


REGISTRIES = [consul, consul_kv, nacos, eureka, kubernetes]


def first(registry, server, **more):
    """What a registry is told to say first: lists of nodes, or the failure."""

    async def run():
        made, conf, service = registry(f"http://{server.address}")
        conf |= more
        place = host()
        discovery = made(made.Config.model_validate(conf), place)
        telling = discovery.watch_all() if service is None else discovery.watch(service)
        try:
            async with asyncio.timeout(LIMIT_S):
                return await anext(telling)
        except DiscoveryFailure as failure:
            return failure
        finally:
            await telling.aclose()
            await place.http.close()

    return asyncio.run(run())


def answer(body=b"", *, status=b"200 OK", headers=b"Content-Type: application/json\r\n", length=None):
    """A script that answers every request of a connection with this."""
    head = b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, headers, len(body) if length is None else length)

    def script(peer):
        while peer.read_head():
            peer.send(head + body)
            if length is not None:
                return

    return script


def endless(part, head):
    def script(peer):
        peer.read_head()
        peer.send(head)
        while True:
            peer.send(part)

    return script


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BEHAVIOURS = {
    "closes at once": (lambda peer: peer.read_head(), "disconnected"),
    "is no HTTP": (lambda peer: (peer.read_head(), peer.send(b"\x16\x03\x01\x00garbage\r\n\r\n")), "no HTTP"),
    "an endless head": (endless(b"X-A: b\r\n" * 1000, b"HTTP/1.1 200 OK\r\n"), "can't be asked"),
    "an endless line": (endless(b"x" * 65536, b"HTTP/1.1 200 OK\r\nX: "), "can't be asked"),
    "breaks off": (answer(b'[{"Node"', length=500), "can't be asked"),
    "a bad chunk": (lambda peer: (peer.read_head(), peer.send(CHUNKED + b"zz\r\n")), "can't be asked"),
    "a page": (answer(b"<html>", headers=b"Content-Type: text/html\r\n"), "no JSON"),
    "nothing": (answer(b""), "no JSON"),
    "depth": (answer(b"[" * 100_000), "no JSON"),
    "no UTF-8": (answer(b'["\xff"]'), "no JSON"),
    "another type": (answer(b'"text"'), "no list"),
    "a number": (answer(b"7"), "no list"),
    "null": (answer(b"null"), "no list"),
    "leads elsewhere": (
        answer(status=b"302 Found", headers=b"Location: http://u:p@127.0.0.9:1/x?y\r\n"),
        "302: it leads to http://127.0.0.9:1/x, where",
    ),
    "an error": (answer(b"no\nway\x1b[31m\xff", status=b"500 Oh"), "answers 500"),
    "a flood": (endless(b"10000\r\n" + b"x" * 65536 + b"\r\n", CHUNKED), "more than 300000 bytes"),
    "a bomb": (
        answer(gzip.compress(b"[" + b" " * 5_000_000 + b"]"), headers=b"Content-Encoding: gzip\r\n"),
        "more than 300000 bytes",
    ),
}


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.__name__)
def test_what_a_registry_may_do_is_a_failure_in_one_line(registry, raw_upstream, monkeypatch):
    monkeypatch.setattr(http_module, "MAX_BYTES", 300_000)
    for what, (script, sentence) in BEHAVIOURS.items():
        told = first(registry, raw_upstream(script))
        assert isinstance(told, DiscoveryFailure), what
        text = str(told)
        assert sentence in text, what
        assert text.isprintable(), what
        assert len(text) <= http_module.MAX_SENTENCE, what
        assert TOKEN not in text, what
        assert "signature" not in text, what


@pytest.mark.parametrize("registry", [consul, nacos, eureka], ids=lambda one: one.__name__)
def test_a_registry_that_dawdles(registry, raw_upstream):
    def script(peer):
        peer.read_head()
        for byte in itertools.chain(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", itertools.repeat(ord(" "))):
            peer.send(bytes([byte]))
            time.sleep(0.01)

    quick = {"connect": 200, "read": 200}
    assert "doesn't answer in time" in str(first(registry, raw_upstream(script), timeout=quick))


def test_a_proxy_that_knows_no_consul_takes_no_nodes_away(raw_upstream):
    for registry in (consul, consul_kv):
        told = first(registry, raw_upstream(answer(b"404 page not found", status=b"404 Not Found")))
        assert "answers 404: 404 page not found" in str(told)
    told = first(consul_kv, raw_upstream(answer(status=b"404 Not Found", headers=b"X-Consul-Index: 7\r\n")))
    assert told.nodes == {}


def test_an_agent_that_knows_no_blocking_queries_is_polled(raw_upstream):
    server = raw_upstream(answer(b"[]", headers=b"X-Consul-Index: 5\r\n"))

    async def run():
        made, conf, service = consul(f"http://{server.address}")
        place = host()
        telling = made(made.Config.model_validate({**conf, "fetch_interval": 60}), place).watch(service)
        try:
            assert await anext(telling) == []
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(telling)
        finally:
            await telling.aclose()
            await place.http.close()

    asyncio.run(run())
    assert server.requests_seen.count(b"GET ") == 2


@pytest.mark.parametrize("index", [b"9" * 6000, b"-1", b"x", "٣".encode()])
def test_indexes_that_are_none(raw_upstream, index):
    told = first(consul, raw_upstream(answer(b"[]", headers=b"X-Consul-Index: " + index + b"\r\n")))
    assert told == []


BAD_INSTANCES = [None, 7, "x", [], {}, {"ip": None, "port": 1}, {"ip": "a", "port": "1"}]


def test_instances_that_are_none_are_left_to_be_named(raw_upstream):
    good = {"Node": {"Address": "10.0.0.1"}, "Service": {"Port": 80}}
    told = first(consul, raw_upstream(answer(json.dumps([*BAD_INSTANCES, good]).encode())))
    assert len(told) == 8
    nodes, sentence = checked(told, 10)
    assert nodes == (DiscoveredNode("10.0.0.1", 80),)
    assert sentence.startswith("7 of 8 nodes can't be used: ")

    up = {"status": "UP", "ipAddr": "10.0.0.1", "port": {"$": 80, "@enabled": "true"}}
    odd = [
        {**up, "port": {"$": "9" * 5000, "@enabled": "true"}},
        {**up, "metadata": {"weight": "1" * 5000}},
        {**up, "metadata": {"weight": "-1"}},
        {**up, "ipAddr": ["10.0.0.1"]},
        {**up, "ipAddr": "10.0.0.1\r\nX: y"},
    ]
    applications = {"applications": {"application": [{"name": "web", "instance": [None, 7, *odd, up]}]}}
    told = first(eureka, raw_upstream(answer(json.dumps(applications).encode())))
    nodes, sentence = checked(told.nodes["WEB"], 10)
    assert [node.host for node in nodes] == ["10.0.0.1"]
    assert sentence.startswith("7 of 8 nodes can't be used: [None] is no host")

    weights = [1e308, 1e-9, -0.5, -3, 0, 0.0, 2.5, 10**9, 10**10, "1", True]
    hosts = [{"ip": f"10.0.0.{number}", "port": 80, "weight": weight} for number, weight in enumerate(weights)]
    nodes, sentence = checked(first(nacos, raw_upstream(answer(json.dumps({"hosts": hosts}).encode()))), 20)
    assert [node.weight for node in nodes] == [1, 0, 0, 250, 10**9]
    assert sentence.startswith("6 of 11 nodes can't be used: weight 1e+308 of 10.0.0.0")


def test_lists_of_kubernetes_that_are_none(raw_upstream, monkeypatch):
    from bascule.control.discovery import kubernetes as module

    metadata = {"resourceVersion": "5"}
    for items in ("text", {"a": 1}, 7, True):
        told = first(kubernetes, raw_upstream(answer(json.dumps({"metadata": metadata, "items": items}).encode())))
        assert "no list of Kubernetes objects" in str(told)
    for bad in ({"resourceVersion": 5}, {"resourceVersion": "5", "continue": 7}, [], None):
        told = first(kubernetes, raw_upstream(answer(json.dumps({"metadata": bad, "items": []}).encode())))
        assert "no list of Kubernetes objects" in str(told)
    # A list that never ends.
    monkeypatch.setattr(module, "MAX_LIST_BYTES", 100_000)
    page = {"metadata": {"resourceVersion": "5", "continue": "more"}, "items": [{"x": "y" * 5000}]}
    told = first(kubernetes, raw_upstream(answer(json.dumps(page).encode())))
    assert "lists more than 100000 bytes" in str(told)


def test_unix_sockets_of_this_machine_are_not_for_others_to_name():
    good, socket = DiscoveredNode("a", 1), DiscoveredNode("unix:/run/docker.sock", None)
    nodes, sentence = checked([socket, good], 10, sockets=False)
    assert (nodes, sentence) == (
        (good,),
        "1 of 2 nodes can't be used: 'unix:/run/docker.sock' is a Unix socket, which a registry may not name",
    )
    assert checked([socket], 10) == ((socket,), None)
    assert [registry("http://a:1")[0].sockets for registry in REGISTRIES] == [False] * len(REGISTRIES)
    assert (Dns.sockets, File.sockets) == (False, True)


@pytest.mark.parametrize(
    "node",
    [
        ("a\nb", 1),
        ("a\r\nHost: b", 1),
        ("a b", 1),
        ("a/b", 1),
        ("a@b", 1),
        ("a" * 254, 1),
        ("a" * 10_000_000, 1),
        ("[::1", 1),
        ("::g", 1),
        ("", 1),
        ("ä", 1),
        ("a", 0),
        ("a", -1),
        ("a", 65536),
        ("a", "80"),
        ("a", 80.0),
        ("a", True),
        ("a", 1, -1),
        ("a", 1, 1.5),
        ("a", 1, "1"),
        ("a", 1, 10**10),
        ("a", 1, 1, "1"),
        ("a", 1, 1, 0, ["metadata"]),
    ],
)
def test_nodes_that_are_none(node):
    good = DiscoveredNode("::1", 1)
    nodes, sentence = checked([node, good, ("[::1]", 1), ("0:0::1", 1, 0)], 10)
    assert nodes == (good,)
    assert sentence.startswith("1 of 4 nodes can't be used: ")
    assert sentence.isprintable()
    assert len(sentence) < 300


# ---- the whole gateway


def until(condition):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it doesn't come"
        time.sleep(0.02)


def test_the_rest_serves_on(module_gateway, raw_upstream):
    upstream = raw_upstream()
    good = {"Node": {"Address": "127.0.0.1"}, "Service": {"Port": upstream.port}}
    hostile = {"Node": {"Address": "a\nb\x1b[31m"}, "Service": {"Port": -1}}
    flood = [{"Node": {"Address": "127.0.0.1"}, "Service": {"Port": 1 + number}} for number in range(10_001)]
    answers = [
        (b"\xff\x00", "answers with what is no JSON"),
        (json.dumps(flood).encode(), "more than 10000 nodes are told of it (max_nodes)"),
        (json.dumps([hostile]).encode(), "1 of 1 nodes can't be used: 'a\\nb\\x1b[31m' is not a host name or address"),
        (json.dumps([hostile, good]).encode(), "1 of 2 nodes can't be used: 'a\\nb\\x1b[31m'"),
    ]
    agent = ConsulAgent()
    agent.register("w1", "web", "127.0.0.1", upstream.port)
    routes = [
        {"id": "1", "uri": "/web", "upstream": {"service_name": "web", "discovery_type": "consul"}},
        {"id": "2", "uri": "/other", "upstream": {"service_name": "other", "discovery_type": "file"}},
    ]
    discovery = {
        "consul": {"servers": [agent.url], "token": TOKEN, "fetch_interval": 1},
        "file": {"path": "nodes.json"},
    }
    files = {"nodes.json": json.dumps({"other": {upstream.address: 1}})}
    gateway = module_gateway({"routes": routes}, {"discovery": discovery}, files=files)

    def serves():
        with gateway.client() as client:
            return [client.request("GET", path).status for path in ("/web", "/other")] == [200, 200]

    def troubles():
        return [one["message"] for one in gateway.status("/status/details")[1]["discovery"]["consul"]["troubles"]]

    try:
        assert serves()
        for raw, sentence in answers:
            agent.raw = raw
            agent.mark("w1", True)  # ends the query that waits
            until(lambda sentence=sentence: any(sentence in one for one in troubles()))
            assert serves()
        [failures] = [line for line in gateway.metrics().splitlines() if 'discovery_failures{type="consul"}' in line]
        assert int(failures.rpartition(" ")[2]) >= 3
        agent.raw = None
        until(lambda: not troubles())
        assert serves()
    finally:
        agent.stop()
    assert "\x1b" not in gateway.log
    assert TOKEN not in gateway.log
