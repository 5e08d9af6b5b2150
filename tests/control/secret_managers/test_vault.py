import asyncio

import pytest
from aiohttp import ClientSession

from bascule.control.secret_managers.manager import SecretFailure
from bascule.control.secret_managers.vault import Vault
from bascule.model.secret import VaultSecret
from tests.servers.vault import TOKEN, VaultServer


@pytest.fixture
def server():
    server = VaultServer()
    server.secrets = {"apps/jack": {"key": "k", "number": 7}, "apps/a b": {"ü": "x"}}
    yield server
    server.stop()


def fetch(server, *keys, **conf):
    async def run():
        async with ClientSession() as session:
            values = {"uri": server.url, "prefix": "kv/apps", "token": TOKEN} | conf
            return await Vault(VaultSecret(**values), session).fetch(keys)

    return [str(value) for value in asyncio.run(run()).values()]


def test_the_last_segment_is_the_field(server):
    assert fetch(server, "jack/key", "jack/number", "a b/ü") == ["k", "7", "x"]
    assert sorted(server.requests) == [("GET", "/v1/kv/apps/a%20b"), ("GET", "/v1/kv/apps/jack")]
    assert fetch(server, "apps/jack/key", prefix="/kv/", uri=f"{server.url}/") == ["k"]


def test_version_2_of_the_engine(server):
    assert fetch(server, "jack/key", prefix="secret/data/apps") == ["k"]
    assert fetch(server, "jack/key", prefix="secret/apps") == [
        f'vault at {server.url} has nothing at "secret/apps/jack": Invalid path for a versioned K/V secrets engine.'
    ]


def test_what_is_not_there(server):
    assert fetch(server, "jack/no", "jil/key", "jack", "/key", "jack/") == [
        f'what vault at {server.url} has at "kv/apps/jack" has no field "no"',
        f'vault at {server.url} has nothing at "kv/apps/jil"',
        '"jack" must have the form path/field',
        '"/key" must have the form path/field',
        '"jack/" must have the form path/field',
    ]


def test_refused(server):
    assert fetch(server, "jack/key", token="s.wrong") == [
        f'vault at {server.url} answers 403 for "kv/apps/jack": permission denied'
    ]
    server.sealed = True
    assert fetch(server, "jack/key") == [f'vault at {server.url} answers 503 for "kv/apps/jack": Vault is sealed']


def test_namespaces(server):
    server.namespace = "team/a"
    assert "permission denied" in fetch(server, "jack/key")[0]
    assert fetch(server, "jack/key", namespace="team/a") == ["k"]


def test_only_what_vault_says_is_gone_is_gone(server):
    async def run():
        async with ClientSession() as session:
            vault = Vault(VaultSecret(uri=server.url, prefix="kv", token=TOKEN), session)
            first = await vault.fetch(["x/y"])
            server.stop()
            return first | await vault.fetch(["x/z"])

    found = asyncio.run(run())
    assert all(isinstance(failure, SecretFailure) for failure in found.values())
    assert [failure.gone for failure in found.values()] == [True, False]
