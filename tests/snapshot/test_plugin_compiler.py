import gc
import logging
import weakref

import pytest

from bascule.plugin.plugin import Config
from bascule.snapshot.faults import Faults
from bascule.snapshot.plugin_compiler import PluginCompiler, close
from bascule.snapshot.references import Resolver, from_environment, left_open
from tests.snapshot.bench import BareHost, FakeRegistry, make_plugin, pairs


class Compiling:
    def __init__(self):
        self.registry = FakeRegistry()
        self.compiler = PluginCompiler(self.registry, BareHost, Resolver(from_environment({"TAG": "from-env"})))
        self.faults: list[str] = []

    def __call__(self, plugins, previous=None, holder="routes/1"):
        faults = Faults()
        checked = self.compiler.check(plugins, previous, faults)
        built = None if faults else self.compiler.build(checked, holder, previous, faults)
        self.faults = [f"{path}: {sentence}" for path, sentence in pairs(faults)]
        return built


@pytest.fixture
def compiling():
    return Compiling()


def test_built_with_conf_and_host(compiling):
    made = compiling({"limit": {"count": 3}, "edit": {"_meta": {"priority": 7}}})
    limit = made.instances["limit"].plugin
    assert (limit.conf.count, limit.host.plugin, limit.host.holder) == (3, "limit", "routes/1")
    assert (made.instances["limit"].priority, made.instances["edit"].priority) == (1000, 7)
    assert compiling.faults == []


def test_nothing_for_no_plugins(compiling):
    assert compiling(None) is None
    assert compiling({}) is None


def test_every_fault_at_once_and_nothing_is_built(compiling):
    assert compiling({"limits": {}, "off": {}, "limit": {"cout": 1}, "edit": {"_meta": {"x": 1}}}) is None
    assert compiling.faults == [
        '$.plugins.limits: unknown plugin "limits"; did you mean "limit"?',
        '$.plugins.off: plugin "off" is disabled: it is not in the list "plugins" of config.yaml',
        '$.plugins.limit.cout: unknown attribute "cout"; did you mean "count"?',
        '$.plugins.edit._meta.x: unknown attribute "x"',
    ]


def test_unchanged_confs_keep_their_instance(compiling):
    first = compiling({"limit": {"count": 3}, "edit": {}})
    assert compiling({"edit": {}, "limit": {"count": 3}}, first) is first
    second = compiling({"limit": {"count": 4}, "edit": {}}, first)
    assert second.instances["edit"] is first.instances["edit"]
    assert second.instances["limit"].plugin is not first.instances["limit"].plugin


def test_a_change_of_meta_alone_keeps_the_plugin(compiling):
    first = compiling({"limit": {"count": 3}})
    second = compiling({"limit": {"count": 3, "_meta": {"priority": 1}}}, first)
    assert second.instances["limit"] is not first.instances["limit"]
    assert second.instances["limit"].plugin is first.instances["limit"].plugin
    assert second.instances["limit"].priority == 1


def test_a_new_class_makes_a_new_plugin(compiling):
    first = compiling({"limit": {}})
    compiling.registry.classes["limit"] = make_plugin("limit", 1, ("access",))
    second = compiling({"limit": {}}, first)
    assert second.instances["limit"].plugin is not first.instances["limit"].plugin


def test_disable(compiling):
    made = compiling({"limit": {"count": 3, "_meta": {"disable": True}}, "edit": {"_meta": {"disable": True}}})
    assert [instance.plugin for instance in made.instances.values()] == [None, None]
    assert compiling({"limit": {"count": "x", "_meta": {"disable": True}}}) is None
    assert compiling.faults == ["$.plugins.limit.count: must be an integer"]


def test_filter(compiling):
    made = compiling({"limit": {"_meta": {"filter": [["arg_a", "==", "1"]], "error_response": "no"}}})
    assert made.instances["limit"].filter is not None
    assert made.instances["limit"].error_response == "no"
    assert compiling({"limit": {"_meta": {"filter": [["arg_a", "===", "1"]]}}}) is None
    assert compiling.faults[0].startswith("$.plugins.limit._meta.filter[0]")


def test_references(compiling):
    assert compiling({"limit": {"tag": "$env://TAG"}}).instances["limit"].plugin.conf.tag == "from-env"
    assert compiling({"limit": {"tag": "$env://NOPE"}}) is None
    assert compiling.faults == [
        "$.plugins.limit.tag: $env://NOPE can't be resolved: there is no such environment variable"
    ]


def test_a_constructor_that_fails_closes_what_was_made(compiling):
    made = []
    compiling.registry.classes["first"] = make_plugin("first", 1, (), close=lambda self: made.append("closed"))
    assert compiling({"first": {}, "limit": {"tag": "explode"}}) is None
    assert compiling.faults == ["$.plugins.limit: the plugin can't be set up: boom"]
    assert made == ["closed"]


def test_a_check_that_fails_is_told(compiling):
    class Odd(Config):
        @classmethod
        def model_validate(cls, *args, **kwargs):
            raise KeyError("x")

    compiling.registry.classes["limit"].Config = Odd
    assert compiling({"limit": {}}) is None
    assert compiling.faults == ["$.plugins.limit: the plugin's check of its conf failed: KeyError: 'x'"]


def test_code_that_does_not_load_is_told(compiling):
    def get(name):
        raise ImportError("no module named x")

    compiling.registry.get = get
    assert compiling({"limit": {}}) is None
    assert compiling.faults == ['$.plugins.limit: plugin "limit" can\'t be loaded: no module named x']


def test_auth(compiling):
    faults = Faults()
    auths, others = compiling.compiler.check_auth(
        {"key-auth": {"key": "$env://TAG", "_meta": {}}, "limit": {"count": 1}}, faults
    )
    assert [(auth.plugin, auth.key, auth.conf.key) for auth in auths] == [("key-auth", "from-env", "from-env")]
    assert others == {"limit": {"count": 1}}
    assert not faults
    compiling.compiler.check_auth({"key-auth": {}, "nope": {}}, faults)
    assert [path for path, _ in pairs(faults)] == ["$.plugins.key-auth.key", "$.plugins.nope"]


def test_metadata(compiling):
    faults = Faults()
    assert compiling.compiler.check_metadata("limit", {"realm": "r", "id": "limit"}, faults).realm == "r"
    assert compiling.compiler.default_metadata("limit").realm == "default"
    assert compiling.compiler.default_metadata("edit") is None
    assert compiling.compiler.default_metadata("nope") is None
    assert not faults
    compiling.compiler.check_metadata("edit", {}, faults)
    compiling.compiler.check_metadata("nope", {}, faults)
    compiling.compiler.check_metadata("limit", {"realms": "r"}, faults)
    assert pairs(faults) == [
        ("$", 'plugin "edit" takes no metadata'),
        ("$", 'unknown plugin "nope"'),
        ("$.realms", 'unknown attribute "realms"; did you mean "realm"?'),
    ]


def test_an_error_while_closing_is_logged(caplog):
    def fail(self):
        raise RuntimeError("boom")

    plugin = make_plugin("bad", 1, (), close=fail)(None, BareHost("bad", "x"))
    with caplog.at_level(logging.ERROR, logger="bascule.snapshot"):
        close([plugin])
    assert "plugin bad failed to close" in caplog.text


def test_what_is_closed_goes_without_the_garbage_collector():
    def choose(self, conf, host):
        self.closed = 0
        self.access = self.one_way

    plugin = make_plugin("fast", 1, (), __init__=choose, one_way=lambda self, request: "answer")(None, None)
    hook, gone = plugin.access, weakref.ref(plugin)
    gc.disable()
    try:
        close([plugin])
        assert hook(None) == "answer", "a request that runs has it"
        del plugin, hook
        assert gone() is None
    finally:
        gc.enable()


def test_where_nothing_is_served_open_places_are_not_checked():
    resolve = left_open(from_environment({"COUNT": "x"}))
    compiler = PluginCompiler(FakeRegistry(), BareHost, Resolver(resolve, checking=True))

    def faults(conf):
        found = Faults()
        compiler.build(compiler.check({"limit": conf}, None, found), "routes/1", None, found)
        return [path for path, _ in pairs(found)]

    assert faults({"tag": "$secret://vault/1/x"}) == []
    assert faults({"count": "$secret://vault/1/x"}) == []
    assert faults({"count": "$env://NONE", "cout": 1}) == ["$.plugins.limit.cout"]
    assert faults({"count": "$env://COUNT"}) == ["$.plugins.limit.count"]
    auths, _ = compiler.check_auth({"key-auth": {"key": "$secret://vault/1/x"}}, Faults())
    assert [(auth.plugin, auth.key) for auth in auths] == [("key-auth", None)]
