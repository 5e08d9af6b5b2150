"""Every plugin has a page: with each of its attributes, and with configurations that its models accept."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bascule.plugin.plugin import Config
from bascule.plugin.registry import Registry
from tests.plugins.faults import faults

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "src" / "bascule" / "plugins").glob("[a-z]*.py"))
NAMES = [path.stem.replace("_", "-") for path in FILES]
REGISTRY = Registry(None, ())


def page(name: str) -> str:
    return (ROOT / "docs" / "plugins" / f"{name}.md").read_text()


def attributes(model: type[Config], prefix: str = "") -> Iterator[str]:
    """Dotted names of all attributes, also inside nested models and lists of them."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in nested(field.annotation):
            yield from attributes(inner, f"{prefix}{name}.")


def nested(annotation: Any) -> Iterator[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from nested(inner)


def configurations(name: str) -> Iterator[dict[str, Any]]:
    for text in re.findall(r"```yaml\n(.*?)```", page(name), re.DOTALL):
        yield yaml.safe_load(text)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_every_attribute(name: str) -> None:
    plugin = REGISTRY.get(name)
    models = [model for model in (plugin.Config, plugin.ConsumerConfig, plugin.Metadata) if model is not None]
    text = page(name)
    assert [attribute for model in models for attribute in attributes(model) if f"`{attribute}`" not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_pages_configurations_are_right(name: str) -> None:
    seen = False
    for resources in configurations(name):
        for kind, items in resources.items():
            for item in items if isinstance(items, list) else []:
                for used, conf in item.get("plugins", {}).items():
                    seen = seen or used == name
                    plugin = REGISTRY.get(used)
                    model = plugin.ConsumerConfig if kind == "consumers" and plugin.ConsumerConfig else plugin.Config
                    assert faults(plugin, conf, model) == []
    assert seen, f"no example uses {name}"
