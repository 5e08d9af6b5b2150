import sys

import pytest

from bascule.plugin.user_code import PluginCodeError, UserCode

PLUGIN = """
from bascule.plugin import Config, Plugin

class Base(Plugin):
    pass

class Mine(Base):
    name = "mine"
    priority = {priority}
    Config = Config
"""


@pytest.fixture(autouse=True)
def clean_modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("bascule_user_", "acme")):
            del sys.modules[name]


def test_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(priority=1))
    code = UserCode(str(path))
    (mine,) = code.load()
    assert (mine.name, mine.priority) == ("mine", 1)
    assert not code.changed()
    path.write_text(PLUGIN.format(priority=2))
    assert code.changed()
    (again,) = code.load()
    assert (again.priority, mine.priority) == (2, 1)
    assert not code.changed()


def test_a_module_by_name(tmp_path):
    path = tmp_path / "acme_one.py"
    path.write_text(PLUGIN.format(priority=1))
    code = UserCode("acme_one")
    assert [plugin.priority for plugin in code.load()] == [1]
    path.write_text(PLUGIN.format(priority=2))
    assert code.changed()
    assert [plugin.priority for plugin in code.load()] == [2]


def test_a_package_with_its_parts(tmp_path):
    package = tmp_path / "acme"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("raise SystemExit(3)")
    (package / "numbers.py").write_text("PRIORITY = 1\n")
    (package / "mine.py").write_text("from acme.numbers import PRIORITY\n" + PLUGIN.format(priority="PRIORITY"))
    code = UserCode("acme")
    assert [plugin.priority for plugin in code.load()] == [1]
    (package / "numbers.py").write_text("PRIORITY = 2\n")
    assert code.changed()
    assert [plugin.priority for plugin in code.load()] == [2]
    assert not code.changed()
    (package / "more.py").write_text(PLUGIN.format(priority=3).replace('"mine"', '"more"'))
    assert code.changed()
    assert sorted(plugin.name for plugin in code.load()) == ["mine", "more"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def", r"mine\.py:1: "),
        ("x = 1\n1 / 0\n", r"mine\.py:2: ZeroDivisionError: division by zero"),
        ("import acme_absent", "ModuleNotFoundError: No module named 'acme_absent'"),
        ("raise SystemExit(1)", "SystemExit"),
        ("from bascule.plugin import Plugin", "defines no class derived"),
    ],
)
def test_what_fails_is_told_in_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "mine.py"
    path.write_text(text)
    code = UserCode(str(path))
    with pytest.raises(PluginCodeError, match=sentence):
        code.load()
    assert not code.changed()
    path.write_text(PLUGIN.format(priority=1))
    assert code.changed()
    assert len(code.load()) == 1


def test_a_failure_keeps_the_modules_that_were_there(tmp_path):
    path = tmp_path / "acme_two.py"
    path.write_text(PLUGIN.format(priority=1))
    code = UserCode("acme_two")
    code.load()
    module = sys.modules["acme_two"]
    path.write_text("1 / 0")
    with pytest.raises(PluginCodeError, match="ZeroDivisionError"):
        code.load()
    assert sys.modules["acme_two"] is module


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(PluginCodeError, match="no such file"):
        UserCode(str(tmp_path / "absent.py")).load()
    with pytest.raises(PluginCodeError, match="no such module"):
        UserCode("acme_absent").load()


def test_a_file_that_comes_later(tmp_path):
    path = tmp_path / "late.py"
    code = UserCode(str(path))
    with pytest.raises(PluginCodeError):
        code.load()
    assert not code.changed()
    path.write_text(PLUGIN.format(priority=1))
    assert code.changed()
