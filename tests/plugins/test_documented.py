"""Every plugin has a page: with each of its attributes, with configurations that its models accept, and with curl lines
that a gateway answers as the page says."""

import http.client
import re
import shlex
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bascule.plugin.plugin import Config
from bascule.plugin.registry import Registry
from tests.plugins.faults import faults
from tests.servers.gateway import Gateway
from tests.servers.raw import RawUpstream

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "src" / "bascule" / "plugins").glob("[a-z]*.py"))
NAMES = [path.stem.replace("_", "-") for path in FILES]
REGISTRY = Registry(None, ())
# Pages whose examples need nothing but an upstream.
ALONE = (
    "api-breaker",
    "cors",
    "fault-injection",
    "ip-restriction",
    "key-auth",
    "proxy-rewrite",
    "real-ip",
    "redirect",
    "request-id",
    "response-rewrite",
    "traffic-label",
    "workflow",
)


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


def dialogues(name: str) -> Iterator[tuple[str, list[str]]]:
    """(curl line, the lines that the page shows of its answer); "…" stands for anything."""
    for block in re.findall(r"(?:^    .*\n|^\n)+", page(name), re.MULTILINE):
        for part in re.split(r"^    \$ ", block, flags=re.MULTILINE)[1:]:
            line, *shown = part.splitlines()
            yield line, [text.strip() for text in shown if text.strip()]


def ask(port: int, line: str) -> str:
    """The whole answer to a curl line of the page."""
    words = shlex.split(line, comments=True)
    method, url, headers = "GET", "", {}
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, value = words.pop(0).split(": ", 1)
            headers[name] = value
        elif word.startswith("http"):
            url = word
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, url.removeprefix("http://127.0.0.1:9080"), headers=headers)
        answer = connection.getresponse()
        fields = "".join(f"{key}: {value}\n" for key, value in answer.getheaders())
        return f"HTTP/1.1 {answer.status} {answer.reason}\n{fields}\n{answer.read().decode()}\n"
    finally:
        connection.close()


@pytest.mark.parametrize("name", ALONE)
def test_the_page_says_what_a_gateway_answers(
    name: str, reloaded: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    upstream = raw_upstream()
    examples = re.findall(r"```yaml\n(.*?)```", page(name), re.DOTALL)
    serving = reloaded(examples[0].replace("127.0.0.1:1980", upstream.address))
    for line, shown in dialogues(name):
        answer = ask(serving.port, line)
        for text in shown:
            expected = re.escape(text).replace("…", ".*")
            assert re.search(f"^{expected}$", answer, re.MULTILINE), f"{line}: no {text!r} in\n{answer}"
    assert "Traceback" not in serving.log
