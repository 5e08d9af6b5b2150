"""Names of nodes against a small DNS server of the test's own."""

import asyncio
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from bascule.net.dns import NoAddress, Resolver, read_hosts
from bascule.net.loop import new_loop
from tests.servers.gateway import Gateway
from tests.servers.raw import RawUpstream, answers, response


class NameServer:
    """`records` maps (name, type) to (ttl, addresses); anything else is NXDOMAIN, or no answer for a known name."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self.asked: Counter[str] = Counter()
        self.silent = False
        self.deaf_to = ""  # a type
        self.heard = threading.Condition()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            wire, peer = self.sock.recvfrom(4096)
            if wire == b"stop":
                return
            query = dns.message.from_wire(wire)
            question = query.question[0]
            name, kind = str(question.name).rstrip("."), question.rdtype.name
            with self.heard:
                self.asked[name] += 1
                self.heard.notify_all()
            if self.silent or kind == self.deaf_to:
                continue
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.RA
            if record := self.records.get((name, kind)):
                answer.answer.append(dns.rrset.from_text(question.name, record[0], "IN", kind, *record[1]))
            elif not any(known == name for known, _ in self.records):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self.sock.sendto(answer.to_wire(), peer)

    def wait_asked(self, name: str, times: int, timeout_s: float = 8) -> None:
        with self.heard:
            assert self.heard.wait_for(lambda: self.asked[name] >= times, timeout_s), self.asked

    def stop(self) -> None:
        self.sock.sendto(b"stop", self.sock.getsockname())
        self.thread.join(5)
        self.sock.close()


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.stop()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop, _ = new_loop()
    yield loop
    loop.close()


class Endpoint:
    def __init__(self, host: str):
        self.host = host
        self.seen: list[object] = []
        self.changed = asyncio.Event()

    def resolved(self, hosts: list[str]) -> list[object]:
        self.seen.append(hosts)
        self.changed.set()
        return []

    def unresolved(self, reason: str) -> list[object]:
        self.seen.append(reason)
        self.changed.set()
        return []


def test_the_hosts_file(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# comment\n10.0.0.1 One uno # tail\n::1 one\nnonsense two\n10.0.0.2\n")
    assert read_hosts(path) == {"one": ["10.0.0.1", "::1"], "uno": ["10.0.0.1"]}
    assert read_hosts(tmp_path / "none") == {}


def test_answers_and_their_ttls(loop: asyncio.AbstractEventLoop, names: NameServer) -> None:
    names.records = {
        ("two.test", "A"): (30, ["10.0.0.1", "10.0.0.2"]),
        ("short.test", "A"): (0, ["10.0.0.3"]),
        ("six.test", "AAAA"): (90, ["2001:db8::1"]),
        ("dual.test", "A"): (60, ["10.0.0.4"]),
        ("dual.test", "AAAA"): (60, ["2001:db8::2"]),
    }
    resolver = Resolver(loop, [names.address], hosts={"listed": ["::1", "127.0.0.1"]}, search=False)
    run = loop.run_until_complete
    addresses, ttl_s = run(resolver.resolve("two.test"))
    assert (sorted(addresses), ttl_s) == (["10.0.0.1", "10.0.0.2"], 30)
    assert run(resolver.resolve("short.test")) == (["10.0.0.3"], 1.0)
    assert run(resolver.resolve("six.test")) == (["2001:db8::1"], 90)
    assert run(resolver.resolve("dual.test")) == (["10.0.0.4", "2001:db8::2"], 60)
    assert run(resolver.resolve("Listed."))[0] == ["::1", "127.0.0.1"]
    with pytest.raises(NoAddress, match="no such name"):
        run(resolver.resolve("none.test"))
    fixed = Resolver(loop, [names.address], valid_s=7, ipv6=False, hosts={})
    assert run(fixed.resolve("two.test"))[1] == 7
    with pytest.raises(NoAddress):
        run(fixed.resolve("six.test"))


def test_stale_addresses_stay_while_the_server_is_silent(
    loop: asyncio.AbstractEventLoop, names: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    names.records = {("a.test", "A"): (1, ["10.0.0.1"])}
    resolver = Resolver(loop, [names.address], timeout_s=0.3, hosts={}, search=False)

    async def main() -> list[object]:
        endpoint = Endpoint("a.test")
        resolver.look_up(endpoint)
        resolver.look_up(endpoint)  # known already
        await asyncio.wait_for(endpoint.changed.wait(), 5)
        names.silent = True
        endpoint.changed.clear()
        await asyncio.wait_for(endpoint.changed.wait(), 5)
        names.silent = False
        names.records = {("a.test", "A"): (1, ["10.0.0.2"])}
        endpoint.changed.clear()
        await asyncio.wait_for(endpoint.changed.wait(), 8)
        await resolver.close()
        return endpoint.seen

    with caplog.at_level(logging.INFO):
        seen = loop.run_until_complete(main())
    assert seen[0] == ["10.0.0.1"]
    assert isinstance(seen[1], str)
    assert seen[2] == ["10.0.0.2"]
    assert "cannot resolve a.test" in caplog.text
    assert "a.test resolves again" in caplog.text


def test_the_gateway_follows_the_dns(
    gateway: Callable[..., Gateway], names: NameServer, raw_upstream: Callable[..., RawUpstream]
) -> None:
    """Every address is used, a new one after the TTL, the last ones for as long as the server is dead."""
    one = raw_upstream(answers(response(b"one")), host="127.0.0.1")
    two = same_port(one, raw_upstream, "127.0.0.2", b"two")
    three = same_port(one, raw_upstream, "127.0.0.3", b"three")
    names.records = {("svc.test", "A"): (1, ["127.0.0.1", "127.0.0.2"])}
    pool = {"size": 1, "requests": 1, "idle_timeout": 60}  # each request on a connection of its own
    nodes = {f"svc.test:{one.port}": 1}
    routes = [
        {"id": "svc", "uri": "/svc", "upstream": {"nodes": nodes, "keepalive_pool": pool}},
        {"id": "none", "uri": "/none", "upstream": {"nodes": {"none.test:80": 1}}},
        {"id": "local", "uri": "/local", "upstream": {"nodes": {f"localhost:{one.port}": 1}}},
    ]
    server = gateway({"routes": routes}, {"apisix": {"dns_resolver": [names.address], "resolver_timeout": 1}})
    with server.client() as client:

        def bodies(n: int) -> Counter[bytes]:
            return Counter(client.request("GET", "/svc").body for _ in range(n))

        assert bodies(10) == {b"one": 5, b"two": 5}
        assert client.request("GET", "/local").body == b"one"
        started = time.monotonic()
        assert client.request("GET", "/none").status in (502, 503)
        assert time.monotonic() - started < 1.5
        assert client.request("GET", "/none").status in (502, 503)
        names.records = {("svc.test", "A"): (1, ["127.0.0.3"])}
        deadline = time.monotonic() + 5
        while set(bodies(4)) != {b"three"}:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        names.silent = True
        names.wait_asked("svc.test", names.asked["svc.test"] + 1)
        assert bodies(4) == {b"three": 4}
    assert three.connections
    assert two.connections


def test_a_name_with_both_families_uses_what_works(
    gateway: Callable[..., Gateway], names: NameServer, raw_upstream: Callable[..., RawUpstream]
) -> None:
    """IPv4 first; where it refuses, IPv6 at once, without a failed request nor a used-up retry."""
    six = raw_upstream(answers(response(b"six")), host="::1")
    names.records = {
        ("dual.test", "A"): (60, ["127.0.0.1", "127.0.0.2"]),
        ("dual.test", "AAAA"): (60, ["2001:db8::1", "::1"]),  # the first has no route on a machine without IPv6
        ("six.test", "AAAA"): (60, ["::1"]),
    }
    fresh = {"size": 1, "requests": 1, "idle_timeout": 60}
    timeout = {"connect": 1, "send": 2, "read": 2}
    routes = [
        {
            "id": name,
            "uri": f"/{name}",
            "upstream": {
                "nodes": {f"{name}.test:{six.port}": 1},
                "retries": 0,
                "keepalive_pool": fresh,
                "timeout": timeout,
            },
        }
        for name in ("dual", "six")
    ]
    server = gateway({"routes": routes}, {"apisix": {"dns_resolver": [names.address]}})
    with server.client() as client:
        for _ in range(10):
            assert client.request("POST", "/six", body=b"x").body == b"six"
            assert client.request("POST", "/dual", body=b"x").body == b"six"
        four = raw_upstream(answers(response(b"four")), port=six.port)
        deadline = time.monotonic() + 15
        while client.request("GET", "/dual").body != b"four":  # what failed is tried again after some seconds
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert four.connections
    # What refused was left alone from then on.
    assert server.log.count("trying another address") < 12


def test_a_dropped_question_for_ipv6_holds_nothing_up(loop: asyncio.AbstractEventLoop, names: NameServer) -> None:
    names.records = {("a.test", "A"): (60, ["10.0.0.1"])}
    names.deaf_to = "AAAA"
    resolver = Resolver(loop, [names.address], hosts={}, search=False)
    started = time.monotonic()
    assert loop.run_until_complete(resolver.resolve("a.test")) == (["10.0.0.1"], 60)
    assert time.monotonic() - started < 3


def same_port(first: RawUpstream, start: Callable[..., RawUpstream], host: str, name: bytes) -> RawUpstream:
    """An upstream on another loopback address with the port of the first."""
    upstream = start(answers(response(name)), host=host, port=first.port)
    assert upstream.port == first.port
    return upstream


def test_what_nobody_uses_is_not_looked_up_any_more() -> None:
    class Node:
        host = "a.test"

        def resolved(self, hosts: list[str]) -> list[object]:
            return []

        unresolved = resolved

    async def script(resolver: Resolver) -> None:
        node = Node()
        resolver.look_up(node)
        resolver.look_up(node)
        assert len(resolver._tasks) == 1
        del node
        async with asyncio.timeout(20):
            while resolver._tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(script(Resolver(loop, hosts={"a.test": ["127.0.0.1"]})))
    finally:
        loop.close()
