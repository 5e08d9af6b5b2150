import sys

import pytest

from bascule.plugin.registry import DEFAULT, PluginDisabled, Registry, UnknownPlugin, built_in_names

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
    """Built-in plugins: `file-logger`, `not-default`, and the empty `syslog`, in bascule.plugins."""
    import bascule.plugins

    (tmp_path / "file_logger.py").write_text(PLUGIN.format(name="file-logger", priority=100, more=""))
    (tmp_path / "not_default.py").write_text(PLUGIN.format(name="not-default", priority=1, more=""))
    (tmp_path / "syslog.py").write_text("")
    monkeypatch.setattr(bascule.plugins, "__path__", [str(tmp_path)])
    yield
    for name in ("file_logger", "syslog", "not_default"):
        sys.modules.pop(f"bascule.plugins.{name}", None)


def test_built_in_plugins_are_imported_on_demand(built_in):
    registry = Registry()
    assert "bascule.plugins.file_logger" not in sys.modules
    assert registry.get("file-logger").priority == 100
    assert registry.get("file-logger") is registry.get("file-logger")
    with pytest.raises(UnknownPlugin, match="'absent'"):
        registry.get("absent")
    with pytest.raises(UnknownPlugin, match="defines no plugin"):
        registry.get("syslog")


def test_names_that_could_be_paths_are_unknown(built_in):
    for name in ("file_logger", "../file-logger", "", "File-Logger", "os"):
        with pytest.raises(UnknownPlugin):
            Registry().get(name)


def test_what_the_list_leaves_out_is_disabled(built_in):
    registry = Registry(["syslog", "nothing"])
    with pytest.raises(PluginDisabled, match="file-logger"):
        registry.get("file-logger")
    assert registry.unknown == ("nothing",)


def test_names_come_by_priority(built_in, user):
    registry = Registry(["file-logger"], [user("high", 200), user("low", 1)])
    assert registry.names() == ("high", "file-logger", "low")
    assert registry.unknown == ()


def test_users_plugins_need_no_entry_in_the_list(user):
    registry = Registry([], [user()])
    assert registry.get("mine").priority == 5
    assert repr(registry).endswith("1 of users, 0 errors>")


def test_a_built_in_name_is_only_taken_on_purpose(built_in, user):
    source = user("file-logger")
    registry = Registry(None, [source])
    assert "override = True" in registry.errors[source]
    assert registry.get("file-logger").priority == 100
    registry = Registry(None, [user("file-logger", more="override = True")])
    assert registry.get("file-logger").priority == 5


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
    assert sorted(built_in_names()) == ["file-logger", "not-default", "syslog"]


def test_without_a_list_apisixs_default_holds(built_in):
    assert "file-logger" in DEFAULT
    with pytest.raises(PluginDisabled):
        Registry().get("not-default")
    assert Registry(["not-default"]).get("not-default").priority == 1
    assert Registry().unknown == ()
