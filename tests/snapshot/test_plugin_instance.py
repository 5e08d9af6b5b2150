from bascule.snapshot.plugin_instance import PluginInstance, PluginSet
from tests.snapshot.bench import BareHost, make_plugin


def instance(name="edit", phases=("rewrite", "body_filter"), **options):
    plugin = make_plugin(name, 10, phases, needs_task=True)
    return PluginInstance(name, plugin(None, BareHost(name, "routes/1")), b"{}", b"", 10, **options)


def test_hooks_are_the_phases_of_the_plugin():
    made = instance(error_response="sorry")
    hooks = made.hooks()
    assert list(hooks) == ["rewrite", "body_filter"]
    assert hooks["rewrite"].plugin == "edit"
    assert hooks["rewrite"].call.__self__ is made.plugin
    assert hooks["rewrite"].needs_task
    assert hooks["rewrite"].error_response == "sorry"
    assert repr(hooks["rewrite"].plugin) == "'edit'"
    assert made.hooks() is hooks


def test_switched_off():
    made = PluginInstance("edit", None, b"{}", b"{}", 10)
    assert made.hooks() == {}
    assert repr(made) == "<edit 10 off>"


def test_plugins_not_in():
    kept, gone, off = instance(), instance("other"), PluginInstance("off", None, b"", b"", 1)
    before = PluginSet("routes/1", {"a": kept, "b": gone, "c": off})
    assert before.plugins_not_in(PluginSet("routes/1", {"a": kept})) == [gone.plugin]
    assert before.plugins_not_in(None) == [kept.plugin, gone.plugin]
    assert repr(before) == "<plugins of routes/1: <edit 10>, <other 10>, <off 1 off>>"
