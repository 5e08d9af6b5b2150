import asyncio
import sys

import pytest

from bascule.control.secret_managers.aws import Aws
from bascule.control.secret_managers.manager import SecretFailure
from bascule.model.secret import AwsSecret
from tests.servers.aws import AwsServer
from tests.servers.ports import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = AwsServer(tmp_path_factory.mktemp("aws"))
    server.put("jack", '{"key": "k", "path/inner": "i"}')
    server.put("jack/plain", "just text")
    server.put("binary", b"bytes")
    server.put("odd", b"\xff")
    yield server
    server.stop()


def fetch(conf, *keys):
    found = asyncio.run(Aws(AwsSecret(**conf)).fetch(keys))
    return [(str(value), isinstance(value, SecretFailure) and value.gone) for value in found.values()]


def test_the_longest_name_counts(server):
    assert fetch(server.resource, "jack/key", "jack/plain", "jack/path/inner", "binary") == [
        ("k", False),
        ("just text", False),
        ("i", False),
        ("bytes", False),
    ]


def test_what_is_not_there(server):
    where = f"AWS Secrets Manager ({server.url})"
    assert fetch(server.resource, "jack/nothing", "jack/plain/x", "jil/key", "odd") == [
        (f'the secret "jack" in {where} has no field "nothing"', True),
        (f'the secret "jack/plain" in {where} is no JSON object, so it has no field "x"', True),
        (f'{where} has no secret "jil/key", nor one that this is a field of', True),
        (f'the secret "odd" in {where} is no text', True),
    ]


def test_nobody_there():
    conf = {"access_key_id": "a", "secret_access_key": "b", "endpoint_url": f"http://127.0.0.1:{free_port()}"}
    ((told, gone),) = fetch(conf, "jack/key")
    assert told.startswith(f"AWS Secrets Manager ({conf['endpoint_url']}) doesn't answer: ")
    assert not gone


def test_a_region_that_can_not_be(server):
    ((told, gone),) = fetch({**server.resource, "endpoint_url": None, "region": "no where!"}, "x")
    assert "AWS Secrets Manager (no where!) can't be asked" in told
    assert not gone


def test_without_botocore(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(SecretFailure, match=r"pip install 'bascule\[aws\]'"):
        Aws(AwsSecret(access_key_id="a", secret_access_key="b"))
