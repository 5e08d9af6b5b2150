import sys

import pytest

from bascule.control.discovery.file import File
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
