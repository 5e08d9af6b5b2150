import pytest

from bascule.model.change import Change
from bascule.snapshot.compact_json import pack
from bascule.snapshot.faults import Faults
from bascule.snapshot.plugin_compiler import PluginCompiler
from bascule.snapshot.references import Resolver, from_environment
from bascule.snapshot.route_compiler import RouteCompiler
from bascule.snapshot.timeout import Timeout
from bascule.snapshot.upstream_compiler import Served
from tests.snapshot.bench import BareHost, FakeRegistry, pairs

UP = {"nodes": {"a:1": 1}}


@pytest.fixture
def compiler():
    return RouteCompiler(PluginCompiler(FakeRegistry(), BareHost, Resolver(from_environment({}))), Served())


def compiled(compiler, previous=None, **value):
    faults = Faults()
    record = compiler.compile(Change("routes", "1", value, file="f", line=2), pack(value), previous, faults)
    return record, [f"{path}: {sentence}" for path, sentence in pairs(faults)]


def test_everything(compiler):
    record, faults = compiled(
        compiler,
        uris=["/a", "/b/*"],
        hosts=["a.com", "*.b.com"],
        methods=["GET", "POST"],
        remote_addr="10.0.0.0/8",
        vars=[["arg_a", "==", "1"]],
        priority=3,
        upstream_id=1,
        service_id="s",
        plugin_config_id="p",
        timeout={"connect": 1, "send": 2, "read": 3},
        enable_websocket=True,
        name="n",
        labels={"a": "b"},
        plugins={"limit": {}},
    )
    assert faults == []
    assert record.match.uris == record.route.uris == ("/a", "/b/*")
    assert record.match.hosts == ("a.com", "*.b.com")
    assert record.match.methods == {"GET", "POST"}
    assert record.match.remote_addrs == ("10.0.0.0/8",)
    assert record.match.vars is not None
    assert record.match.priority == 3
    assert (record.upstream_id, record.service_id, record.plugin_config_id) == ("1", "s", "p")
    assert (record.route.id, record.route.name, record.route.labels) == ("1", "n", {"a": "b"})
    assert (record.route.timeout, record.websocket, record.enabled) == (Timeout(1, 2, 3), True, True)
    assert list(record.plugins.instances) == ["limit"]
    assert (record.file, record.line, record.refusal) == ("f", 2, None)


def test_defaults(compiler):
    record, _ = compiled(compiler, uri="/a", host="b", upstream=UP)
    assert (record.match.hosts, record.match.methods, record.match.remote_addrs) == (("b",), None, ())
    assert (record.websocket, record.plugins, record.route.timeout) == (None, None, None)
    assert record.upstream.key == "routes/1#upstream"


def test_what_did_not_change_stays(compiler):
    first, _ = compiled(compiler, uri="/a", methods=["GET"], upstream=UP, plugins={"limit": {}})
    second, _ = compiled(compiler, first, uri="/b", methods=["GET"], upstream=UP, plugins={"limit": {}})
    assert second.upstream is first.upstream
    assert second.plugins is first.plugins
    assert second.match.methods is first.match.methods


@pytest.mark.parametrize(
    "broken",
    [
        {"plugins": {"nope": {}}},
        {"upstream": {"nodes": {"a": -1}}},
        {"upstream": {"nodes": {}, "scheme": "udp"}},
        {"upstraem_id": 1, "upstream_id": 2},
        {"timeout": {}, "upstream_id": 2},
        {},
        {"script": "return", "plugins": {}},
    ],
)
def test_a_broken_route_whose_match_can_be_read_refuses(compiler, broken):
    record, faults = compiled(compiler, uri="/a", methods=["GET"], service_id="s", **broken)[0:2]
    if not broken:
        assert faults == []
        return
    assert faults
    assert record.refusal.startswith(faults[0])
    assert (record.match.uris, record.match.methods) == (("/a",), {"GET"})
    assert (record.service_id, record.plugins, record.upstream) == ("s", None, None)


@pytest.mark.parametrize(
    "broken",
    [
        {"uri": ""},
        {},
        {"uri": "/", "host": "a b"},
        {"uri": "/", "methods": ["GTE"]},
        {"uri": "/", "vars": [["a"]]},
        {"uri": "/", "filter_func": "function(vars) return true end"},
        {"uri": "/", "vars": [["a"]], "timeout": 1},
    ],
)
def test_a_match_that_can_not_be_read_gives_nothing(compiler, broken):
    record, faults = compiled(compiler, upstream_id="1", **broken)
    assert record is None
    assert faults


def test_all_faults_at_once(compiler):
    _, faults = compiled(compiler, uri="/", prioriti=1, plugins={"nope": {}, "limit": {"count": "x"}, "edit": 1})
    assert faults == [
        "$.plugins.edit: must be an object",
        '$.prioriti: unknown attribute "prioriti"; did you mean "priority"?',
        '$.plugins.nope: unknown plugin "nope"',
        "$.plugins.limit.count: must be an integer",
    ]
