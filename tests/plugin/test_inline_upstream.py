from typing import Any

import pytest
from pydantic import ValidationError

from bascule.errors.sentences import faults
from bascule.plugin.inline_upstream import InlineUpstream, named_or_inline
from bascule.plugin.kit.testing import MemoryHost
from bascule.plugin.plugin import Config


class Conf(Config):
    ways: tuple[InlineUpstream, ...]


@pytest.mark.parametrize("nodes", [{"a:1": 2}, [{"host": "a", "port": 1, "weight": 2}]])
def test_nodes_in_either_form(nodes: Any) -> None:
    [way] = Conf.model_validate({"ways": [{"nodes": nodes, "labels": {"a": "b"}, "retry_timeout": 1}]}).ways
    [node] = way.node_list()
    assert (node.host, node.port, node.weight) == ("a", 1, 2)


def test_faults_have_their_place_and_apisix_words() -> None:
    conf = {"ways": [{"nodes": {}}, {"nodes": [{"host": "a", "port": 0}], "typ": 1, "retries": "1"}, 7]}
    with pytest.raises(ValidationError) as caught:
        Conf.model_validate(conf)
    found = faults(caught.value, conf, Conf, ("plugins", "x"))
    assert [(fault.path, fault.sentence) for fault in found] == [
        ("$.plugins.x.ways[1].nodes[0].port", "must be at least 1"),
        ("$.plugins.x.ways[1].nodes[0].weight", "is required"),
        ("$.plugins.x.ways[1].retries", "must be an integer"),
        ("$.plugins.x.ways[1].typ", 'unknown attribute "typ"; did you mean "type"?'),
        ("$.plugins.x.ways[2]", "must be an object"),
    ]
    beginning = 'failed to check the configuration of plugin x err: property "ways" validation failed: '
    assert found[2].text == (
        beginning + 'failed to validate item 2: property "retries" validation failed: '
        "wrong type: expected integer, got string"
    )


class Choice(Config):
    upstream: InlineUpstream | None = None
    upstream_id: str | None = None


def test_a_named_upstream_goes_before_an_inline_one() -> None:
    host = MemoryHost()
    inline = {"nodes": {"a:1": 1}}
    found = [
        named_or_inline(Choice.model_validate(conf), ("way",), host)
        for conf in ({"upstream": inline, "upstream_id": "7"}, {"upstream": inline}, {})
    ]
    assert [handle and (handle.id, handle.at) for handle in found] == [
        ("7", ("way", "upstream_id")),
        (None, ("way", "upstream")),
        None,
    ]
