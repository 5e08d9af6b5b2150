import asyncio
import json
import sys

import pytest
from aiohttp import ClientSession

from bascule.control.secret_managers.gcp import Gcp
from bascule.control.secret_managers.manager import SecretFailure
from bascule.model.secret import GcpSecret
from tests.servers.google import GoogleServer


@pytest.fixture(scope="module")
def shared():
    server = GoogleServer()
    yield server
    server.stop()


@pytest.fixture
def server(shared):
    shared.secrets = {"jack": '{"key": "k", "a/b": "deep"}', "plain": "just text", "a b": "x"}
    shared.tokens.clear()
    shared.requests.clear()
    shared.life_s = 3600
    return shared


def rounds(conf, *rounds):
    """What each round of keys gives, of one manager."""

    async def run():
        async with ClientSession() as session:
            manager = Gcp(GcpSecret(**conf), session)
            found = []
            for keys in rounds:
                if callable(keys):
                    keys()
                else:
                    found += [str(value) for value in (await manager.fetch(keys)).values()]
            return found

    return asyncio.run(run())


def bought(server):
    return server.requests.count(("POST", "/token"))


def test_name_and_field(server):
    keys = ["jack/key", "jack/a/b", "plain", "a b"]
    assert rounds({"auth_config": server.account}, keys, keys) == ["k", "deep", "just text", "x"] * 2
    assert bought(server) == 1, "one token for all"
    assert ("GET", "/v1/projects/shop/secrets/a%20b/versions/latest:access") in server.requests


def test_what_is_not_there(server):
    where = f"{server.url}/v1"
    assert rounds({"auth_config": server.account}, ["jack/no", "jil", "plain/x"]) == [
        'the secret "jack" in Google Secret Manager has no field "no"',
        f'{where} has no secret "jil": Secret [projects/1/secrets/jil] not found or has no versions.',
        'the secret "plain" in Google Secret Manager is no JSON object, so it has no field "x"',
    ]


def test_a_token_is_renewed_before_it_ends_and_when_it_is_withdrawn(server):
    server.life_s = 30
    assert rounds({"auth_config": server.account}, ["plain"], ["plain"]) == ["just text"] * 2
    assert bought(server) == 2
    server.life_s = 3600
    assert rounds({"auth_config": server.account}, ["plain"], server.tokens.clear, ["plain"]) == ["just text"] * 2
    assert bought(server) == 4


def test_an_account_in_a_file(server, tmp_path):
    path = tmp_path / "account.json"
    path.write_text(json.dumps({"type": "service_account", "private_key_id": "1", **server.account}))
    assert rounds({"auth_file": str(path)}, ["plain"]) == ["just text"]
    path.write_text('{"client_email": "x", "private_key": "y"}')
    assert rounds({"auth_file": str(path)}, ["plain"]) == [f"{path}: $.project_id: is required"]
    path.write_text("{")
    assert rounds({"auth_file": str(path)}, ["plain"]) == [f"{path} is no JSON"]
    path.unlink()
    assert rounds({"auth_file": str(path)}, ["plain"]) == [f"{path} can't be read: no such file or directory"]


def test_who_is_not_known(server):
    account = server.account | {"client_email": "other@shop"}
    (told,) = rounds({"auth_config": account}, ["plain"])
    assert told.startswith(f"{server.url}/token answers 400 and gives no token: Invalid claims")
    account = server.account | {"private_key": "no key"}
    (told,) = rounds({"auth_config": account}, ["plain"])
    assert "the private key of gateway@shop.iam.gserviceaccount.com can't be used" in told


def test_without_joserfc(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "joserfc.jwt", None)
    with pytest.raises(SecretFailure, match=r"pip install 'bascule\[gcp\]'"):
        rounds({"auth_config": server.account}, ["plain"])
