from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.admin.links import Link, dangling, link_faults, links

SPLIT = {"traffic-split": {"rules": [{"weighted_upstreams": [{"weight": 1}, {"upstream_id": 7}]}]}}


@pytest.mark.parametrize(
    ("kind", "id", "value", "expected"),
    [
        ("routes", "1", {"upstream_id": 1, "service_id": "s"}, [("services", "s"), ("upstreams", "1")]),
        ("routes", "1", {"plugin_config_id": "p"}, [("plugin_configs", "p")]),
        ("services", "1", {"upstream_id": "u", "service_id": "x"}, [("upstreams", "u")]),
        ("stream_routes", "1", {"protocol": {"superior_id": "2"}}, [("stream_routes", "2")]),
        ("consumers", "anna", {"group_id": "g"}, [("consumer_groups", "g")]),
        ("credentials", "anna/credentials/c", {}, [("consumers", "anna")]),
        ("graphql_cost_decorations", "s/graphql_cost_decorations/c", {}, [("services", "s")]),
        ("plugin_configs", "1", {"plugins": SPLIT}, [("upstreams", "7")]),
        ("routes", "1", {"plugins": {"grpc-transcode": {"proto_id": "p"}}}, [("protos", "p")]),
        ("upstreams", "1", {"upstream_id": "x"}, []),
    ],
)
def test_references(kind: str, id: str, value: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert [(link.kind, link.id) for link in links(kind, id, value)] == expected


def test_a_whole_without_faults() -> None:
    items = {
        ("routes", "1"): {"service_id": 1},
        ("services", "1"): {"plugins": SPLIT},
        ("upstreams", "7"): {},
        ("global_rules", "1"): {"plugins": {"cors": {}}},
        ("global_rules", "2"): {"plugins": {"real-ip": {}}},
    }
    assert list(link_faults(items)) == []


def test_what_leads_nowhere_is_told_with_its_place() -> None:
    items: dict[tuple[str, str], dict[str, Any]] = {
        ("services", "1"): {"plugins": SPLIT},
        ("credentials", "anna/credentials/c"): {},
        ("routes", "1"): {"upstream_id": "u"},
    }
    found = [(*item, fault.path, fault.error_msg) for item, fault in link_faults(items)]
    place = "$.plugins.traffic-split.rules[0].weighted_upstreams[1].upstream_id"
    text = "failed to fetch upstream info by upstream id [7], response code: 404"
    assert found == [
        ("services", "1", place, text),
        ("credentials", "anna/credentials/c", "$", "consumer not found"),
        ("routes", "1", "$.upstream_id", "failed to fetch upstream info by upstream id [u], response code: 404"),
    ]
    assert dangling(Link(("group_id",), "consumer_groups", "g")).sentence == (
        'names the consumer group "g", which doesn\'t exist'
    )


def test_a_plugin_stands_in_one_global_rule() -> None:
    items = {("global_rules", id): {"plugins": {"cors": {}}} for id in ("1", "2")}
    [(item, fault)] = link_faults(items)
    assert item == ("global_rules", "2")
    assert (fault.path, fault.text) == ("$.plugins.cors", "plugin 'cors' already exists in global rule with id '1'")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just("x"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["plugins", "traffic-split", "rules", "weighted_upstreams", "upstream_id", "protocol"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["plugins", "protocol", "upstream_id"]), JUNK))
def test_values_of_any_shape(value: dict[str, Any]) -> None:
    for link in links("stream_routes", "1", value):
        assert isinstance(link.id, str)
