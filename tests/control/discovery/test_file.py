import os
from pathlib import Path

import pytest

from bascule.control.discovery.discovery import DiscoveredNode
from bascule.control.discovery.file import File, FileConfig
from tests.control.discovery.telling import play


def put(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


def of(*paths: str):
    return lambda host: File(FileConfig(path=paths, check_interval=0.05), host)


def test_both_forms_of_nodes_in_yaml_and_json(tmp_path):
    (tmp_path / "a.yaml").write_text("web: {'127.0.0.1:80': 1, '[::1]:81': 2}\n5: []\n")
    (tmp_path / "b.json").write_text('{"api": [{"host": "b", "weight": 1, "priority": 2, "metadata": {"zone": "x"}}]}')

    async def script(told):
        found = await told.found("web", "127.0.0.1:80", "::1:81")
        assert found.nodes["api"] == (DiscoveredNode("b", None, 1, 2, {"zone": "x"}),)
        assert found.nodes["5"] == ()

    play(of("a.yaml", "b.json"), script, folder=tmp_path)


def test_a_file_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "a.yaml"

    async def script(told):
        assert await told.failure() == f"{path} can't be read: no such file or directory"
        put(path, "")
        await told.until(lambda one: getattr(one, "nodes", None) == {})
        put(path, "web: {a: 1}")
        await told.found("web", "a")
        put(path, "web: {b: 1}")
        await told.found("web", "b")

    play(of("a.yaml"), script, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("web: {a: 1", "a.yaml:2: is not valid YAML: did not find expected ',' or '}'"),
        ("- web", "must hold an object"),
        ("web: {'a:99999': 1}", ": web"),
        ("web: [{host: a, weight: 1, prot: 1}]", ": web[0].prot"),
        ("web: 5", ": web: must be an object"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, text, sentence):
    (tmp_path / "a.yaml").write_text(text)

    async def script(told):
        assert sentence in await told.failure()

    play(of("a.yaml"), script, folder=tmp_path)


def test_a_service_stands_in_one_file(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text('{"web": {"a:1": 1}}')

    async def script(told):
        assert "the service 'web' stands in another file, too" in await told.failure()

    play(of("a.json", "b.json"), script, folder=tmp_path)
