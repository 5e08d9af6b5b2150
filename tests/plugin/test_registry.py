import sys

import pytest

from bascule.plugin.registry import PluginDisabled, Registry, UnknownPlugin, built_in_names

PLUGIN = """
from bascule.plugin import Config, Plugin

class Mine(Plugin):
    name = "{name}"
    priority = {priority}
    Config = Config
    {more}
"""


@pytest.fixture
def user(tmp_path):
    """user(name, priority, more) writes the file user_<name>.py and returns its path."""

    def write(name="mine", priority=5, more="", file=None):
        path = tmp_path / f"user_{file or name}.py"
        path.write_text(PLUGIN.format(name=name, priority=priority, more=more))
        return str(path)

    yield write
    for name in [name for name in sys.modules if name.startswith("bascule_user_")]:
        del sys.modules[name]


@pytest.fixture
def built_in(monkeypatch, tmp_path):
    """One built-in plugin, `some-thing`, in bascule.plugins."""
    import bascule.plugins

    (tmp_path / "some_thing.py").write_text(PLUGIN.format(name="some-thing", priority=100, more=""))
    (tmp_path / "hollow.py").write_text("")
    monkeypatch.setattr(bascule.plugins, "__path__", [str(tmp_path)])
    yield
    for name in ("some_thing", "hollow"):
        sys.modules.pop(f"bascule.plugins.{name}", None)


def test_built_in_plugins_are_imported_on_demand(built_in):
    registry = Registry()
    assert "bascule.plugins.some_thing" not in sys.modules
    assert registry.get("some-thing").priority == 100
    assert registry.get("some-thing") is registry.get("some-thing")
    with pytest.raises(UnknownPlugin, match="'absent'"):
        registry.get("absent")
    with pytest.raises(UnknownPlugin, match="defines no plugin"):
        registry.get("hollow")


def test_names_that_could_be_paths_are_unknown(built_in):
    for name in ("some_thing", "../some-thing", "", "Some-Thing", "os"):
        with pytest.raises(UnknownPlugin):
            Registry().get(name)


def test_what_the_list_leaves_out_is_disabled(built_in):
    registry = Registry(["hollow", "nothing"])
    with pytest.raises(PluginDisabled, match="some-thing"):
        registry.get("some-thing")
    assert registry.unknown == ("nothing",)


def test_names_come_by_priority(built_in, user):
    registry = Registry(["some-thing"], [user("high", 200), user("low", 1)])
    assert registry.names() == ("high", "some-thing", "low")
    assert registry.unknown == ()


def test_users_plugins_need_no_entry_in_the_list(user):
    registry = Registry([], [user()])
    assert registry.get("mine").priority == 5
    assert repr(registry).endswith("1 of users, 0 errors>")


def test_a_built_in_name_is_only_taken_on_purpose(built_in, user):
    source = user("some-thing")
    registry = Registry(None, [source])
    assert "override = True" in registry.errors[source]
    assert registry.get("some-thing").priority == 100
    registry = Registry(None, [user("some-thing", more="override = True")])
    assert registry.get("some-thing").priority == 5


def test_two_users_may_not_share_a_name(user):
    first, second = user(), user(file="second", priority=6)
    registry = Registry(None, [first, second])
    assert "already defined by" in registry.errors[second]
    assert registry.get("mine").priority == 5


def test_one_bad_source_does_not_hold_back_the_others(user):
    bad = user("bad", more="header_filter = 5; log = Config.model_validate; priority = None")
    registry = Registry(None, [bad, user()])
    assert list(registry.errors) == [bad]
    assert registry.get("mine")
    with pytest.raises(UnknownPlugin):
        registry.get("bad")


def test_reload_names_what_changed(user):
    source = user()
    other = user("other")
    registry = Registry(None, [source, other])
    assert registry.reload() == ()
    user(priority=6)
    assert registry.reload() == ("mine",)
    assert registry.get("mine").priority == 6
    assert registry.reload() == ()


def test_reload_that_fails_keeps_the_previous_class(user, tmp_path):
    source = user()
    registry = Registry(None, [source])
    before = registry.get("mine")
    (tmp_path / "user_mine.py").write_text("1 / 0")
    assert registry.reload() == ()
    assert registry.get("mine") is before
    assert "ZeroDivisionError" in registry.errors[source]
    user(priority=7)
    assert registry.reload() == ("mine",)
    assert not registry.errors


def test_reload_forgets_names_that_went(user):
    source = user()
    registry = Registry(None, [source])
    user("renamed", file="mine")
    assert registry.reload() == ("mine", "renamed")
    with pytest.raises(UnknownPlugin):
        registry.get("mine")


def test_the_names_are_those_of_the_files(built_in):
    assert built_in_names() == ["hollow", "some-thing"] or set(built_in_names()) >= {"hollow", "some-thing"}
