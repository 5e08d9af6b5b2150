from typing import Any

import pytest

from bascule.plugin.kit.testing import get, run
from bascule.plugins.real_ip import RealIp, parse_address
from tests.plugins.faults import fault_paths

PEER = ("127.0.0.1", 34567)
XFF = "http_x_forwarded_for"
TRUSTED = ["192.128.0.0/16", "127.0.0.0/24"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.1.1.1", ("1.1.1.1", 0)),
        (" 1.1.1.1:80 ", ("1.1.1.1", 80)),
        ("1.1.1.1:65535", ("1.1.1.1", 65535)),
        ("::2", ("::2", 0)),
        ("2001:DB8:0::2", ("2001:db8::2", 0)),
        ("[::2]", ("::2", 0)),
        ("[::2]:80", ("::2", 80)),
        *[
            (bad, None)
            for bad in (
                "",
                "x",
                "1.1.1.1.1",
                "1.1.1.1:65536",
                "1.1.1.1:",
                "1.1.1.1:x",
                "1.1.1.1:-1",
                "[::2",
                "[::2]80",
                "[::2]:",
                "[1.1.1.1]",
                "fe80::1%eth0",
                "01.1.1.1",
                "1.1.1.1:\u00b2",
            )
        ],
    ],
)
def test_parse_address(text: str, address: tuple[str, int] | None) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("conf", "target", "headers", "client"),
    [
        ({"source": "http_xff"}, "/", [("XFF", "1.1.1.1")], ("1.1.1.1", PEER[1])),
        ({"source": "http_xff"}, "/", [("XFF", "1.1.1.1:7090")], ("1.1.1.1", 7090)),
        ({"source": "http_xff"}, "/", [("XFF", "[::2]:80")], ("::2", 80)),
        ({"source": "http_xff"}, "/", [], PEER),
        ({"source": "http_xff"}, "/", [("XFF", "1.1.1.1.1")], PEER),
        ({"source": "http_xff"}, "/", [("XFF", "1.1.1.1:65536")], PEER),
        ({"source": "arg_realip"}, "/?realip=1.2.3.4:9080", [], ("1.2.3.4", 9080)),
        ({"source": "cookie_ip"}, "/", [("Cookie", "a=b; ip=1.2.3.4")], ("1.2.3.4", PEER[1])),
        ({"source": XFF}, "/", [("X-Forwarded-For", "::1, ::2")], ("::2", PEER[1])),
        ({"source": XFF}, "/", [("X-Forwarded-For", "::1"), ("X-Forwarded-For", "::2")], ("::2", PEER[1])),
        ({"source": XFF}, "/", [], PEER),
        ({"source": XFF, "trusted_addresses": ["192.128.0.0/16"]}, "/", [("X-Forwarded-For", "1.1.1.1")], PEER),
        ({"source": XFF, "trusted_addresses": TRUSTED}, "/", [("X-Forwarded-For", "1.1.1.1")], ("1.1.1.1", PEER[1])),
    ],
)
def test_takes_the_address(
    conf: dict[str, Any], target: str, headers: list[tuple[str, str]], client: tuple[str, int]
) -> None:
    request = run(RealIp, conf, get(target, headers=headers)).request
    assert (request.remote_addr, request.remote_port) == client


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ("1.1.1.1, 192.128.1.1, 127.0.0.1", "1.1.1.1"),
        ("9.9.9.9, 1.1.1.1, 192.128.1.1:80", "1.1.1.1"),
        ("192.128.2.2, 127.0.0.9", "192.128.2.2"),
        ("9.9.9.9, junk, 192.128.1.1", "127.0.0.1"),
        ("9.9.9.9, 1.1.1.1", "1.1.1.1"),
    ],
)
def test_recursive_skips_trusted_hops_from_the_right(hops: str, client: str) -> None:
    conf = {"source": XFF, "trusted_addresses": TRUSTED, "recursive": True}
    request = run(RealIp, conf, get("/", headers={"X-Forwarded-For": hops})).request
    assert request.remote_addr == client


@pytest.mark.parametrize(("proxies", "client"), [(["192.128.0.0/16"], "127.0.0.1"), (["127.0.0.1"], "1.1.1.1")])
def test_a_peer_outside_the_gateways_trust_forwards_for_nobody(proxies: list[str], client: str) -> None:
    conf = {"source": XFF, "trusted_addresses": TRUSTED}
    request = get("/", headers={"X-Forwarded-For": "1.1.1.1"})
    run(RealIp, conf, request, settings={"trusted_addresses": proxies})
    assert request.remote_addr == client


def test_recursive_without_a_list_takes_the_last() -> None:
    request = get("/", headers={"X-Forwarded-For": "1.1.1.1, 2.2.2.2"})
    run(RealIp, {"source": XFF, "recursive": True}, request)
    assert request.remote_addr == "2.2.2.2"


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({}, "$.source"),
        ({"source": ""}, "$.source"),
        ({"source": "http_xff", "trusted_addresses": []}, "$.trusted_addresses"),
        ({"source": "http_xff", "trusted_addresses": ["127.0.0.1/33"]}, "$.trusted_addresses[0]"),
        ({"source": "http_xff", "trusted_addresses": ["::1/129"]}, "$.trusted_addresses[0]"),
        ({"source": "http_xff", "recursive": 1}, "$.recursive"),
        ({"source": "http_xff", "header": "x"}, "$.header"),
    ],
)
def test_refuses(conf: dict[str, Any], path: str) -> None:
    assert fault_paths(RealIp, conf) == [path]
