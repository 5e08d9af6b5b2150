from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from bascule.model.admin_settings import Etcd, EtcdTls
from bascule.store.entry import StoreUnavailable
from bascule.store.etcd_client import EtcdClient, text
from bascule.store.etcd_errors import Compacted, EtcdRefused, EtcdUnreachable
from bascule.store.etcd_layout import end_of
from tests.servers.certificates import Certificates
from tests.servers.etcd import EtcdServer
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream
from tests.store.live_store_cases import run

EtcdFactory = Callable[..., EtcdServer]


@asynccontextmanager
async def client(*urls: str, **settings: Any) -> AsyncIterator[EtcdClient]:
    made = EtcdClient(Etcd(host=urls, **{"timeout": 5, **settings}))
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def test_keys_leases_and_transactions(etcd_server: EtcdFactory) -> None:
    server = etcd_server()

    async def main() -> None:
        async with client(server.url) as etcd:
            assert (await etcd.status())["version"].startswith("3.")
            first = await etcd.put(b"/a/1", b"\0\xff")
            second = await etcd.put(b"/a/2", b"")
            found = await etcd.range(b"/a/", end_of(b"/a/"), limit=1)
            assert [(one.key, one.value, one.created, one.modified) for one in found.items] == [
                (b"/a/1", b"\0\xff", first, first)
            ]
            assert (found.revision, found.more) == (second, True)
            assert (await etcd.range(b"/a/2", revision=first)).items == []
            assert [one.key for one in (await etcd.range(b"/a/", b"/b", since=second)).items] == [b"/a/2"]
            lease = await etcd.grant(60)
            put = {"request_put": {"key": text(b"/a/3"), "value": text(b"x"), "lease": str(lease)}}
            assert (await etcd.txn({"success": [put]}, repeatable=True))["succeeded"]
            assert (await etcd.range(b"/a/3")).items[0].lease == lease
            await etcd.revoke(lease)
            assert (await etcd.range(b"/a/3")).items == []
            server.compact()
            with pytest.raises(Compacted):
                await etcd.range(b"/a/1", revision=first)
            assert repr(etcd) == f"<etcd client {server.url} open>"

    run(main())


# ---- endpoints


def test_a_dead_endpoint_is_passed_over(etcd_server: EtcdFactory) -> None:
    server = etcd_server()
    dead = f"http://127.0.0.1:{free_port()}"

    async def main() -> None:
        for _ in range(8):  # whichever is asked first
            async with client(dead, server.url) as etcd:
                await etcd.put(b"/a", b"1")
                assert (await etcd.txn({}, repeatable=False))["header"]
                assert etcd.preferred == server.url
        server.stop()
        async with client(dead, server.url) as etcd:
            with pytest.raises(EtcdUnreachable) as error:
                await etcd.txn({}, repeatable=False)
            assert not error.value.maybe_done
            assert f"{dead}: connection refused" in str(error.value)
            assert server.url in str(error.value)

    run(main())


def silent(connection: RawConnection) -> None:
    connection.read_request()
    connection.is_closed()


def test_an_endpoint_that_hangs_is_given_up_for_another(
    etcd_server: EtcdFactory, raw_upstream: Callable[..., RawUpstream]
) -> None:
    server = etcd_server()
    hanging = f"http://{raw_upstream(silent).address}"

    async def main() -> None:
        for _ in range(4):
            async with client(hanging, server.url, timeout=1.5) as etcd:
                began = time.monotonic()
                assert (await etcd.range(b"/a")).items == []
                assert time.monotonic() - began < 1.4
        async with client(hanging, timeout=0.4) as etcd:
            with pytest.raises(EtcdUnreachable, match=r"no answer within 0\.2 s") as error:
                await etcd.txn({}, repeatable=False)
            assert error.value.maybe_done
            with pytest.raises(EtcdUnreachable, match="no answer"):
                await anext(etcd.watch(b"/a", b"", 1, 1))

    run(main())


def test_something_else_on_the_port_is_told(raw_upstream: Callable[..., RawUpstream]) -> None:
    async def main() -> None:
        async with client(f"http://{raw_upstream().address}") as etcd:
            with pytest.raises(EtcdUnreachable, match="HTTP status 200, not as etcd 3"):
                await etcd.status()

    run(main())


def test_a_closed_client_says_so() -> None:
    async def main() -> None:
        with pytest.raises(StoreUnavailable, match="not open"):
            await EtcdClient(Etcd()).status()

    run(main())


# ---- TLS


def test_tls_with_client_certificates(etcd_server: EtcdFactory, certificates: Certificates) -> None:
    server = etcd_server(tls=certificates, client_auth=True)
    named = server.url.replace("127.0.0.1", "localhost")
    ours: dict[str, Any] = {"cert": str(certificates.client.cert), "key": str(certificates.client.key)}
    ca = str(certificates.ca.cert)

    async def works(url: str, **tls: Any) -> None:
        async with client(url, tls=EtcdTls(**tls)) as etcd:
            await etcd.put(b"/a", b"1")

    async def fails(**tls: Any) -> str:
        async with client(server.url, timeout=2, tls=EtcdTls(**tls)) as etcd:
            with pytest.raises(StoreUnavailable) as error:
                await etcd.put(b"/a", b"1")
            return str(error.value)

    async def main() -> None:
        await works(server.url, ca=ca, **ours)
        await works(named, ca=ca, **ours)
        await works(server.url, ca=ca, sni="localhost", **ours)
        await works(server.url, verify=False, **ours)
        assert "certificate isn't trusted" in await fails(**ours)
        assert "see deployment.etcd.tls" in await fails(ca=ca, sni="elsewhere.test", **ours)
        assert "it refuses the connection" in await fails(ca=ca)

    run(main())


@pytest.mark.parametrize(
    ("tls", "sentence"),
    [
        ({"ca": "/nowhere/ca.pem"}, "deployment.etcd.tls.ca: /nowhere/ca.pem can't be used: no such file or directory"),
        ({"cert": "/nowhere/c.pem"}, "deployment.etcd.tls.cert: /nowhere/c.pem with key None can't be used: no such"),
        ({"key": "/nowhere/k.pem"}, "deployment.etcd.tls.key is set, but not deployment.etcd.tls.cert"),
        ({"cert": "{ca}", "key": "{key}"}, "can't be used: not PEM, or certificate and key don't belong together"),
    ],
)
def test_unusable_files_are_named(certificates: Certificates, tls: dict[str, str], sentence: str) -> None:
    files = {"ca": str(certificates.ca.cert), "key": str(certificates.client.key)}

    async def main() -> None:
        settings = Etcd(host=("https://localhost:1",), tls=EtcdTls(**{k: v.format(**files) for k, v in tls.items()}))
        with pytest.raises(StoreUnavailable, match=sentence):
            await EtcdClient(settings).open()

    run(main())


# ---- users


def test_users(etcd_server: EtcdFactory) -> None:
    server = etcd_server()

    async def refused(**who: Any) -> str:
        async with client(server.url, prefix="/apisix", **who) as etcd:
            with pytest.raises(EtcdRefused) as error:
                await etcd.put(b"/other/1", b"")
            return str(error.value)

    async def main() -> None:
        async with client(server.url, user="jack", password="secret") as etcd:
            await etcd.put(b"/apisix/1", b"before there are users")
            server.enable_auth("rooted", {"jack": ("secret", "/apisix/")})
            await etcd.put(b"/apisix/1", b"1")
            server.restart()  # forgets its tokens
            await asyncio.gather(*(etcd.put(b"/apisix/1", b"2") for _ in range(10)))
            server.restart()
            refusals = []
            while True:
                try:
                    async with aclosing(etcd.watch(b"/apisix/", b"/apisix0", 1, 1)) as messages:
                        told = await anext(messages)
                        break
                except StoreUnavailable as error:
                    refusals.append(error)
            assert told is not None
            assert told.created
            assert len(refusals) <= 2  # by the old connection, by the old token
            assert isinstance(refusals[-1], EtcdRefused)
        assert await refused(user="jack", password="wrong") == (
            "etcd refuses the user 'jack': wrong name or password (deployment.etcd.user and password)"
        )
        assert "wrong name or password" in await refused(user="nobody", password="secret")
        assert "wrong name or password" in await refused(user="jack")
        assert await refused() == "etcd asks for a user: set deployment.etcd.user and deployment.etcd.password"
        assert await refused(user="jack", password="secret") == (
            "etcd doesn't let the user 'jack' do this: its role needs the permission readwrite on /apisix/"
        )

    run(main())


# ---- watching


def test_a_watch_tells_what_happens(etcd_server: EtcdFactory) -> None:
    server = etcd_server()

    async def main() -> None:
        async with client(server.url) as etcd:
            first = await etcd.put(b"/a/1", b"1")
            async with aclosing(etcd.watch(b"/a/", b"/a0", first, 0.4)) as messages:
                told = [await anext(messages), await anext(messages)]
                assert told[0] is not None
                assert told[0].created
                assert told[0].cluster == etcd.cluster
                assert told[1] is not None
                assert [one.value for one in told[1].events] == [b"1"]
                assert await anext(messages) is None  # nothing for a while
                server.put("/other", "x")
                server.delete("/a/1")
                while (last := await anext(messages)) is None:
                    pass
                assert [(one.key, one.value) for one in last.events] == [(b"/a/1", None)]
                assert last.events[0].modified == last.revision
            second = await etcd.put(b"/a/1", b"2")
            server.compact()
            async with aclosing(etcd.watch(b"/a/", b"/a0", second - 1, 1)) as messages:
                first_message = await anext(messages)
                assert first_message is not None
                assert first_message.created
                with pytest.raises(Compacted):
                    await anext(messages)

    run(main())


def test_a_watch_ends_with_its_endpoint(etcd_server: EtcdFactory) -> None:
    server = etcd_server()

    async def main() -> None:
        async with client(server.url) as etcd, aclosing(etcd.watch(b"/a/", b"/a0", 1, 1)) as messages:
            await anext(messages)
            server.kill()
            with pytest.raises(EtcdUnreachable, match=server.url):
                async for _ in messages:
                    pass

    run(main())


def test_much_at_once_comes_in_parts(etcd_server: EtcdFactory) -> None:
    server = etcd_server()

    async def main() -> None:
        async with client(server.url) as etcd:
            first = await etcd.put(b"/a/0", b"x" * 1_000_000)
            for number in range(1, 6):
                await etcd.put(b"/a/%d" % number, b"x" * 1_000_000)
            seen, parts = 0, 0
            async with aclosing(etcd.watch(b"/a/", b"/a0", first, 1)) as messages:
                while seen < 6:
                    told = await anext(messages)
                    assert told is not None
                    seen += len(told.events)
                    parts += told.partial
            assert parts > 0

    run(main())
