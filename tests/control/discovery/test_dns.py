import socket
import threading

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from pydantic import ValidationError

from bascule.control.discovery import dns as module
from bascule.control.discovery.discovery import DiscoveredNode, Service
from bascule.control.discovery.dns import Dns, DnsConfig
from bascule.errors.sentences import sentences
from tests.control.discovery.telling import host, play
from tests.servers.dnsmasq import Dnsmasq

RECORDS = (
    "host-record=sd.test,127.0.0.1",
    "host-record=sd.test,127.0.0.2",
    "host-record=six.test,::1",
    "host-record=both.test,127.0.0.1,::1",
    "cname=alias.test,both.test",
    "host-record=third.test,127.0.0.3",
    "srv-host=_http._tcp.srv.test,sd.test,1980,1,60",
    "srv-host=_http._tcp.srv.test,third.test,1981,2,0",
    "srv-host=zero.test,third.test,0,0,5",
    "srv-host=mixed.test,third.test,1980,0,5",
    "host-record=mixed.test,127.0.0.1",
    "srv-host=lost.test,nowhere.test,1980,0,5",
    "txt-record=text.test,hello",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    found = Dnsmasq(tmp_path_factory.mktemp("dnsmasq"), *RECORDS)
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "MIN_TTL_S", 0.05)
    monkeypatch.setattr(module, "TIMEOUT_S", 2.0)


def of(server: Dnsmasq, **conf):
    return lambda place: Dns(DnsConfig(servers=(server.address,), **conf), place)


def first(server, name, **conf):
    """What is told of a name."""
    found = []

    async def script(told):
        found.append(await told.until(lambda one: True))

    play(of(server, **conf), script, Service("dns", name))
    (one,) = found
    return sorted(one) if isinstance(one, list) else one


def test_addresses(server):
    assert first(server, "sd.test:8080") == [DiscoveredNode("127.0.0.1", 8080), DiscoveredNode("127.0.0.2", 8080)]
    assert first(server, "six.test") == [DiscoveredNode("::1", None)]
    assert first(server, "both.test") == first(server, "alias.test") == [DiscoveredNode("127.0.0.1", None)]
    assert first(server, "none.test") == first(server, "text.test") == []


def test_srv_records(server):
    assert first(server, "_http._tcp.srv.test") == [
        DiscoveredNode("127.0.0.1", 1980, 60, -1),
        DiscoveredNode("127.0.0.2", 1980, 60, -1),
        DiscoveredNode("127.0.0.3", 1981, 2, -2),
    ]
    assert first(server, "_http._tcp.srv.test:99")[2].port == 99
    assert first(server, "zero.test") == [DiscoveredNode("127.0.0.3", None, 5)]
    assert first(server, "lost.test") == []


def test_the_order_decides(server):
    assert first(server, "mixed.test") == [DiscoveredNode("127.0.0.3", 1980, 5)]
    assert first(server, "mixed.test", order=("A", "SRV")) == [DiscoveredNode("127.0.0.1", None)]


def test_asked_again_when_the_answer_has_had_its_time(tmp_path):
    server = Dnsmasq(tmp_path / "dns", "host-record=sd.test,127.0.0.1")
    try:

        async def script(told):
            await told.nodes("127.0.0.1:1")
            server.use("host-record=sd.test,127.0.0.1", "host-record=sd.test,127.0.0.9")
            await told.nodes("127.0.0.1:1", "127.0.0.9:1")
            server.stop()
            assert await told.failure("sd.test A: ")
            server.use("host-record=sd.test,127.0.0.5")
            await told.nodes("127.0.0.5:1")
            server.use()
            await told.nodes()

        play(of(server), script, Service("dns", "sd.test:1"))
    finally:
        server.stop()


def test_a_server_that_answers_garbage():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def answer():
            while (received := sock.recvfrom(4096))[0] != b"end":
                data, peer = received
                question = dns.message.from_wire(data)
                sock.sendto(b"\x00\x01garbage", peer)
                refusal = dns.message.make_response(question)
                refusal.set_rcode(2)
                sock.sendto(refusal.to_wire(), peer)

        thread = threading.Thread(target=answer)
        thread.start()
        port = sock.getsockname()[1]

        async def script(told):
            assert await told.failure("sd.test SRV: ")

        try:
            play(lambda place: Dns(DnsConfig(servers=(f"127.0.0.1:{port}",)), place), script, Service("dns", "sd.test"))
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"end", ("127.0.0.1", port))
            thread.join(10)


def test_a_server_that_says_nothing(monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{sock.getsockname()[1]}"

        async def script(told):
            assert await told.failure(f"sd.test SRV: no answer within 0.3 s; asked: {address}")

        play(lambda place: Dns(DnsConfig(servers=(address,)), place), script, Service("dns", "sd.test"))


def test_a_kind_that_failed_once_is_asked_for_again():
    """What was found in its place isn't taken for what there is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]

        def answer():
            refused = 0
            while (received := sock.recvfrom(4096))[0] != b"end":
                question = dns.message.from_wire(received[0])
                asked = question.question[0]
                made = dns.message.make_response(question)
                kind = dns.rdatatype.to_text(asked.rdtype)
                if kind == "SRV" and not refused:
                    refused = 1
                    made.set_rcode(5)
                elif kind in ("SRV", "A"):
                    text = "127.0.0.1" if kind == "A" else "0 1 1980 node.test."
                    made.answer.append(dns.rrset.from_text(asked.name, 0, "IN", kind, text))
                sock.sendto(made.to_wire(), received[1])

        thread = threading.Thread(target=answer)
        thread.start()

        async def script(told):
            assert await told.until(lambda one: True) == [DiscoveredNode("127.0.0.1", None)]
            assert await told.until(lambda one: one[0].port) == [DiscoveredNode("127.0.0.1", 1980)]

        try:
            play(lambda place: Dns(DnsConfig(servers=(f"127.0.0.1:{port}",)), place), script, Service("dns", "sd.test"))
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"end", ("127.0.0.1", port))
            thread.join(10)


def test_servers_of_a_resolv_conf(tmp_path):
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\nsearch test\n")
    made = Dns(DnsConfig(resolv_conf="resolv.conf"), host(tmp_path))
    assert made._asked().nameservers == ["127.0.0.1"]
    assert made._asked().use_search_by_default
    assert made._asked() is made._asked()
    (tmp_path / "new").write_text("nameserver 127.0.0.2\n")
    (tmp_path / "new").replace(tmp_path / "resolv.conf")
    assert made._asked().nameservers == ["127.0.0.2"]

    async def script(told):
        assert "no name server can be asked" in await told.failure()

    play(lambda place: Dns(DnsConfig(resolv_conf="none.conf"), place), script, Service("dns", "a"), folder=tmp_path)


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({}, 'needs exactly one of "servers" and "resolv_conf"'),
        ({"servers": ["dns.example"]}, '"dns.example" is no address of a name server, as in 127.0.0.1:53'),
        ({"servers": ["127.0.0.1"], "order": ["B"]}, ""),
    ],
)
def test_configurations_that_are_refused(conf, sentence):
    with pytest.raises(ValidationError) as refused:
        DnsConfig.model_validate(conf)
    assert sentence in sentences(refused.value, conf, DnsConfig)[0][1]


def test_servers_in_all_forms():
    DnsConfig(servers=("127.0.0.1", "127.0.0.1:53", "::1", "[::1]:53"))


def test_a_name_that_can_not_be_one():
    made = Dns(DnsConfig(servers=("127.0.0.1",)), host())
    assert made.fault(Service("dns", "a:99999")) == "'a:99999': the port must be a number from 1 to 65535"
    assert made.fault(Service("dns", "a.b:80")) is None
