import pytest

from bascule.model.change import Change
from bascule.snapshot.compact_json import pack
from bascule.snapshot.faults import Faults
from bascule.snapshot.plugin_compiler import PluginCompiler
from bascule.snapshot.references import Resolver, from_environment
from bascule.snapshot.resource_compiler import ResourceCompiler
from bascule.snapshot.upstream_compiler import Served
from tests.snapshot.bench import BareHost, FakeRegistry, pairs


@pytest.fixture
def compiled():
    compiler = ResourceCompiler(PluginCompiler(FakeRegistry(), BareHost, Resolver(from_environment({}))), Served())

    def compile(kind, id, value, previous=None):
        faults = Faults()
        record = compiler.compile(Change(kind, id, value), pack(value), previous, faults)
        return record, [f"{path}: {sentence}" for path, sentence in pairs(faults)]

    return compile


def test_upstream(compiled):
    record, faults = compiled("upstreams", "1", {"nodes": {"a": 1}})
    assert (faults, record.upstream.key, record.upstream.id) == ([], "upstreams/1", "1")
    assert compiled("upstreams", "1", {"nodes": {"a": 1}, "desc": "d"}, record)[0].upstream is record.upstream
    assert compiled("upstreams", "1", {"nodes": {}, "scheme": "kafka"}) == (
        None,
        ['$.scheme: "kafka" is not served yet; served: grpc, grpcs, http, https'],
    )


def test_service(compiled):
    value = {"plugins": {"limit": {}}, "upstream": {"nodes": {}}, "hosts": ["a"], "enable_websocket": True, "name": "n"}
    record, faults = compiled("services", "s", value)
    assert faults == []
    assert (record.name, record.hosts, record.websocket, record.upstream_id) == ("n", ("a",), True, None)
    assert record.upstream.key == "services/s#upstream"
    assert record.plugins.holder == "services/s"
    assert compiled("services", "s", {"plugins": {"nope": {}}, "upstream": {"nodes": {}, "type": "x"}})[1] == [
        '$.upstream.type: there is no balancer "x"',
        '$.plugins.nope: unknown plugin "nope"',
    ]


@pytest.mark.parametrize("kind", ["plugin_configs", "consumer_groups", "global_rules"])
def test_holders(compiled, kind):
    record, faults = compiled(kind, "1", {"plugins": {"limit": {}}})
    assert (faults, record.plugins.holder) == ([], f"{kind}/1")
    assert compiled(kind, "1", {"plugins": {"limit": {"tag": "explode"}}}) == (
        None,
        ["$.plugins.limit: the plugin can't be set up: boom"],
    )
    assert compiled(kind, "1", {}) == (None, ["$.plugins: is required"])


def test_consumer(compiled):
    value = {"username": "joe", "plugins": {"key-auth": {"key": "k"}, "limit": {}}, "group_id": 1, "labels": {"a": "b"}}
    record, faults = compiled("consumers", "joe", value)
    assert faults == []
    assert (record.username, record.group_id, record.labels) == ("joe", "1", {"a": "b"})
    assert [(auth.plugin, auth.key) for auth in record.auths] == [("key-auth", "k")]
    assert list(record.plugins.instances) == ["limit"]
    assert compiled("consumers", "joe", {"username": "joe", "plugins": {"key-auth": {}}})[1] == [
        "$.plugins.key-auth.key: is required"
    ]


def test_credential(compiled):
    record, faults = compiled("credentials", "joe/credentials/c", {"plugins": {"key-auth": {"key": "k"}}})
    assert (faults, record.username, record.credential_id, record.auths[0].key) == ([], "joe", "c", "k")
    assert compiled("credentials", "joe/credentials/c", {"plugins": {"limit": {}}}) == (
        None,
        ["$.plugins.limit: only supports auth type plugins in consumer credential"],
    )
    assert compiled("credentials", "c", {})[1] == ['$.id: must have the form "username/credentials/id"']


def test_metadata(compiled):
    record, faults = compiled("plugin_metadata", "limit", {"id": "limit", "realm": "r"})
    assert (faults, record.metadata.realm) == ([], "r")
    assert compiled("plugin_metadata", "limit", {"realm": 1}) == (None, ["$.realm: must be a string"])
    assert compiled("plugin_metadata", "limit", []) == (None, ["$: must be an object"])


@pytest.mark.parametrize(
    ("kind", "id", "value", "faults"),
    [
        ("protos", "1", {"content": "x"}, []),
        ("protos", "1", {}, ["$.content: is required"]),
        ("stream_routes", "1", {"server_port": 1}, []),
        ("secrets", "vault/1", {"uri": "http://a", "prefix": "p", "token": "t"}, []),
        ("secrets", "volt/1", {}, ['$: unknown secret manager "volt"; did you mean "vault"?']),
        ("rotues", "1", {}, ['$: unknown kind of resource "rotues"; did you mean "routes"?']),
    ],
)
def test_kinds_that_are_only_kept(compiled, kind, id, value, faults):
    record, told = compiled(kind, id, value)
    assert told == faults
    assert (record is None) == bool(faults)
