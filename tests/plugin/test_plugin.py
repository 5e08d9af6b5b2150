import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from bascule.plugin import Config, Plugin
from bascule.plugin.kit.testing import MemoryHost
from bascule.plugin.registry import Registry


class Limits(Config):
    count: int = Field(gt=0)
    names: tuple[str, ...] = ()
    ratio: float = 1.0
    inner: "Limits | None" = None


class Both(Plugin):
    name = "both"
    priority = 1
    Config = Limits

    async def access(self, request):
        return None

    def log(self, request):
        pass


@pytest.mark.parametrize(
    ("conf", "where"),
    [
        ({"count": "1"}, ("count",)),
        ({"count": True}, ("count",)),
        ({"count": 0}, ("count",)),
        ({"count": 1, "ratio": "2"}, ("ratio",)),
        ({"count": 1, "extra": 1}, ("extra",)),
        ({"count": 1, "names": ["a", 1]}, ("names", 1)),
        ({"count": 1, "inner": {"count": 1.5}}, ("inner", "count")),
        ({}, ("count",)),
    ],
)
def test_nothing_is_converted_and_nothing_unknown_passes(conf, where):
    with pytest.raises(ValidationError) as caught:
        Limits.model_validate(conf)
    assert [error["loc"] for error in caught.value.errors()] == [where]


def test_json_fills_tuples_floats_and_nested_models():
    conf = Limits.model_validate({"count": 2, "names": ["a"], "ratio": 2, "inner": {"count": 1}})
    assert conf == Limits(count=2, names=("a",), ratio=2.0, inner=Limits(count=1))


def test_what_is_no_json_is_refused_with_its_place():
    with pytest.raises(ValidationError) as caught:
        Limits.model_validate({"count": object()})
    assert caught.value.errors()[0]["loc"] == ("count",)


def test_a_config_is_frozen():
    conf = Limits(count=1)
    with pytest.raises(ValidationError):
        conf.count = 2


def test_overridden_phases_are_installed_in_their_order():
    plugin = Both(Limits(count=1), MemoryHost())
    assert plugin.hooks() == ("access", "log")
    assert plugin.conf.count == 1


def test_base_phases_do_nothing():
    plugin = Plugin(None, MemoryHost())
    assert plugin.hooks() == ()
    for phase in ("rewrite", "access", "before_proxy", "log"):
        assert getattr(plugin, phase)(None) is None
    assert plugin.header_filter(None, None) is None
    assert plugin.body_filter(None, None, b"", True) is None
    assert plugin.close() is None
    assert Plugin.consumer_key(None) is None


@pytest.mark.parametrize("module", ["bascule.plugin", "bascule.plugin.request", "bascule.plugin.variables"])
def test_modules_import_alone(module):
    code = f"import {module}, sys; assert 'asyncio' not in sys.modules; from bascule.plugin import Request"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_room_exports_what_authors_need():
    import bascule.plugin

    for name in bascule.plugin.__all__:
        found = getattr(bascule.plugin, name)
        assert getattr(found, "__name__", repr(found)) == name
    with pytest.raises(AttributeError, match="Nothing"):
        _ = bascule.plugin.Nothing


DOCS = Path(__file__).parents[2] / "docs"


def snippets(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_what_the_docs_show_works(tmp_path, monkeypatch):
    greeter, *others = snippets("writing-plugins.md")
    (tmp_path / "greeter.py").write_text(greeter)
    monkeypatch.syspath_prepend(tmp_path)
    for snippet in others:
        exec(snippet, {"__name__": "snippet"})
    tests, clock = snippets("testing-plugins.md")
    names = {}
    exec(tests, names)
    names["test_greets"]()
    names["test_tells_the_upstream"]()
    exec(clock, {})
    monkeypatch.delitem(sys.modules, "greeter")
    registry = Registry(None, [str(tmp_path / "greeter.py")])
    assert (registry.get("greeter").priority, dict(registry.errors)) == (100, {})


def test_a_plugin_takes_15_lines():
    code = [line for line in snippets("writing-plugins.md")[0].splitlines() if line.strip()]
    assert len(code) <= 15
