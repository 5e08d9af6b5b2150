import asyncio

import pytest
from pydantic import TypeAdapter, ValidationError

from bascule.control.discovery.alternates import Alternates, Timeout, Url, spread_s, url_of
from bascule.control.discovery.discovery import DiscoveryFailure


def test_the_one_that_answered_is_asked_first():
    asked = []

    async def ask(host):
        asked.append(host)
        if host in bad:
            raise DiscoveryFailure(f"{host} is away")
        return host

    servers = Alternates(["a", "b", "c"])
    bad = {"a"}
    assert asyncio.run(servers.ask(ask)) == "b"
    assert asyncio.run(servers.ask(ask)) == "b"
    assert asked == ["a", "b", "b"]
    bad = {"a", "b", "c"}
    with pytest.raises(DiscoveryFailure, match="b is away; a is away; c is away"):
        asyncio.run(servers.ask(ask))


def test_urls_that_lead_nowhere():
    adapter = TypeAdapter(Url)
    for url in ("http://a", "https://u:p%40ss@a:1/x", "http://[::1]:8500"):
        assert adapter.validate_python(url) == url
    for url in ("http://a:99999", "http://u:p/ss@a:1", "http://[::1", "ftp://a", "a:1"):
        with pytest.raises(ValidationError):
            adapter.validate_python(url)


def test_intervals_differ():
    assert all(9 <= spread_s(10) <= 11 for _ in range(100))
    assert len({spread_s(10) for _ in range(10)}) > 1


def test_urls():
    assert url_of("http://a", "/eureka/", "apps") == "http://a/eureka/apps"
    assert url_of("http://a/", "/", "apps") == "http://a/apps"
    assert url_of("http://a/x/", "/y", "apps") == "http://a/x/y/apps"
    assert Timeout().total_s == 9
