import re
import sys
from pathlib import Path

import pytest
import yaml

from bascule.control.discovery.consul import AgentConfig
from bascule.control.discovery.discovery import DiscoveryConfig
from bascule.control.discovery.file import File
from bascule.control.discovery.kubernetes import ClusterConfig
from bascule.control.discovery.types import BUILT_IN, check, load
from bascule.errors.config_error import ConfigRefused

OWN = """
from bascule.control.discovery.discovery import DiscoveredNode, Discovery, DiscoveryConfig

class Config(DiscoveryConfig):
    host: str

class Fixed(Discovery[Config]):
    Config = Config

    async def watch(self, service):
        yield [DiscoveredNode(self.conf.host, 80)]

class Lazy(Discovery[Config]):
    pass

NUMBER = 5
"""


def refused(section, **options):
    with pytest.raises(ConfigRefused) as found:
        check(section, None, **options)
    return [str(error) for error in found.value.errors]


@pytest.mark.parametrize("type", sorted(BUILT_IN))
def test_every_class_can_be_imported(type):
    with pytest.raises(ConfigRefused) as found:
        load(type, {"nonsense": 1})
    assert any("nonsense" in error.path for error in found.value.errors)


def test_a_section_that_can_be_used():
    check({"file": {"path": "a.yaml"}, "dns": {"servers": ["127.0.0.1"]}}, None)
    made, conf = load("file", {"path": "a.yaml"})
    assert (made, conf.path) == (File, ("a.yaml",))


def test_faults_name_their_places():
    assert refused({"file": {}, "dns": {"servers": ["127.0.0.1"], "order": ["A", "A"]}}) == [
        "$.discovery.file.path: is required",
        "$.discovery.dns.order: holds 'A' twice",
    ]
    assert refused({"dns": {"servers": ["127.0.0.1"], "resolv_conf": "x"}}) == [
        '$.discovery.dns: needs exactly one of "servers" and "resolv_conf"'
    ]
    assert refused({"dsn": {}, "tars": {}, "file": 5}) == [
        '$.discovery.dsn: there is no discovery "dsn"; did you mean "dns"?; "class" names one of your own',
        "$.discovery.tars: service discovery of Tars isn't served; list the nodes, or write a discovery of your own",
        "$.discovery.file: must be an object",
    ]


def test_a_discovery_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "our_registry_1.py").write_text(OWN)
    good = {"class": "our_registry_1:Fixed", "host": "a"}
    check({"ours": good}, None, str(tmp_path))
    made, conf = load("ours", good)
    assert (made.__name__, conf.host) == ("Fixed", "a")
    assert refused({"ours": {"class": "our_registry_1:Fixed"}}) == ["$.discovery.ours.host: is required"]
    for where, sentence in (
        ("our_registry_1", 'must name a module and a class in it, as in "our_registry:Registry"'),
        ("our_registry_1:NUMBER", "our_registry_1:NUMBER is no class derived from Discovery"),
        ("our_registry_1:Lazy", "our_registry_1:Lazy has neither watch nor watch_all"),
        ("no_such_module_1:A", "no_such_module_1 can't be imported: ModuleNotFoundError: No module named"),
    ):
        (told,) = refused({"ours": {"class": where}})
        assert told.startswith(f"$.discovery.ours.class: {sentence}")


PAGE = Path(__file__).parents[3] / "docs" / "discovery.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)


def test_what_is_documented_can_be_used(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (own,) = blocks("python")
    (tmp_path / "our_registry.py").write_text(own)
    documented = set()
    for block in blocks("yaml"):
        section = yaml.safe_load(block).get("discovery")
        if section is not None:
            check(section, None, str(tmp_path))
            documented |= section.keys()
    assert documented == {*BUILT_IN, "ours"}


def test_every_attribute_is_documented():
    text = PAGE.read_text()
    for type in BUILT_IN:
        made, _ = load(type, MINIMAL.get(type))
        section = text.partition(f"\n## {type}\n")[2].partition("\n## ")[0]
        fields = made.Config.model_fields if type != "kubernetes" else ClusterConfig.model_fields
        known = {*DiscoveryConfig.model_fields, "shared_size", "id", *(("prefix",) if type == "consul" else ())}
        missing = {name for name in fields.keys() - known if f"`{name}" not in section}
        assert not missing - (AgentConfig.model_fields.keys() if type == "consul_kv" else set()), type


MINIMAL = {
    "dns": {"servers": ["127.0.0.1"]},
    "file": {"path": "a.yaml"},
    "consul": {"servers": ["http://127.0.0.1:8500"]},
    "consul_kv": {"servers": ["http://127.0.0.1:8500"]},
    "nacos": {"host": ["http://127.0.0.1:8848"]},
    "eureka": {"host": ["http://127.0.0.1:8761"]},
}
