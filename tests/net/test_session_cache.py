"""TLS sessions that all workers share: the table, and clients that come back to whichever worker."""

import os
import ssl
from collections.abc import Callable

import pytest

from bascule.net.session_cache import SIZE, SessionCache
from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.tls import blind, connect

ID = bytes(range(32))


def test_what_one_keeps_the_others_find() -> None:
    clock = [1000.0]
    one = SessionCache.create(lambda: clock[0])
    other = SessionCache(os.dup(one.fd), lambda: clock[0])
    assert other.get(ID) is None
    one.put(ID, b"small", 60)
    one.put(ID[::-1], b"large" * 300, 60)
    one.put(ID[:8], b"short id", 60)
    assert (other.get(ID), other.get(ID[::-1]), other.get(ID[:8])) == (b"small", b"large" * 300, b"short id")
    one.put(ID, b"anew", 60)
    assert other.get(ID) == b"anew"
    one.put(bytes(32), b"x" * 5000, 60)  # too large for any place
    assert other.get(bytes(32)) is None
    clock[0] += 61
    assert other.get(ID) is None
    one.close()
    other.close()


def test_a_row_is_full_and_the_oldest_goes() -> None:
    clock = [1000.0]
    cache = SessionCache.create(lambda: clock[0])
    ids = [bytes(8) + bytes([number]) * 24 for number in range(5)]
    for number, id in enumerate(ids):
        clock[0] += 1
        cache.put(id, b"%d" % number, 60)
    assert [cache.get(id) for id in ids] == [None, b"1", b"2", b"3", b"4"]
    cache.close()


def test_what_is_torn_is_no_session() -> None:
    cache = SessionCache.create()
    cache.put(bytes(32), b"a session", 60)
    at = os.pread(cache.fd, SIZE // 8, 0).index(b"a session")
    os.pwrite(cache.fd, b"b", at)
    assert cache.get(bytes(32)) is None
    cache.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_every_worker_resumes(
    version: ssl.TLSVersion, gateway: Callable[..., Gateway], certificates: Certificates
) -> None:
    port = free_port()
    gateway(
        {
            "routes": [{"uri": "/*", "plugins": {"mocking": {"response_example": "hello"}}}],
            "ssls": [{"sni": "localhost", **certificates.server.texts}],
        },
        {"apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": port}]}}},
        workers=3,
    )
    context = blind(maximum_version=version, minimum_version=version)
    with connect(port, "localhost", context) as client:
        assert client.get("localhost") == 200
        session = client.tls.session
    for _ in range(16):  # one worker in three: the chance that it is always the same is nil
        with connect(port, "localhost", context, session=session) as client:
            assert client.tls.session_reused
            assert client.get("localhost") == 200
            session = client.tls.session
