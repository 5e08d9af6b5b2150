from typing import Any

import pytest

from bascule.plugin.kit.testing import MemoryHost, get, make
from bascule.plugins.example_plugin import ExampleMetadata, ExamplePlugin
from tests.plugins.faults import fault_paths


@pytest.mark.parametrize(
    ("conf", "paths"),
    [
        ({}, ["$.i"]),
        ({"i": -1}, ["$.i"]),
        ({"i": "1"}, ["$.i"]),
        ({"i": 1.5, "s": 1, "t": []}, ["$.s", "$.t"]),
        ({"i": 1, "ip": "a b"}, ["$.ip"]),
        ({"i": 1, "ip": "a", "port": 65536}, ["$.port"]),
        ({"i": 1, "x": 1}, ["$.x"]),
    ],
)
def test_bad_configurations(conf: dict[str, Any], paths: list[str]) -> None:
    assert fault_paths(ExamplePlugin, conf) == paths


@pytest.mark.parametrize(
    ("conf", "node"), [({"ip": "127.0.0.1", "port": 81}, ("127.0.0.1", 81)), ({"ip": "::1"}, ("::1", None))]
)
def test_another_node(conf: dict[str, Any], node: tuple[str, int | None]) -> None:
    memory = MemoryHost()
    plugin = make(ExamplePlugin, {"i": 1, **conf}, memory)
    assert isinstance(plugin, ExamplePlugin)
    request = get("/")
    plugin.access(request)
    handle = request.chosen_upstream
    assert handle is not None
    assert [(one.host, one.port) for one in handle.conf.node_list()] == [node]


def test_otherwise_it_does_nothing() -> None:
    assert make(ExamplePlugin, {"i": 1, "t": [1], "s": "x"}).hooks() == ()
    assert ExampleMetadata.model_validate({"ikey": 1, "skey": "val"}).skey == "val"
