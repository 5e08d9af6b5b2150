from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.admin.links import Link, dangling, links

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


def test_a_reference_that_leads_nowhere() -> None:
    fault = dangling(Link(("group_id",), "consumer_groups", "g"))
    assert (fault.path, fault.sentence) == ("$.group_id", 'names the consumer group "g", which doesn\'t exist')
    assert dangling(Link((), "consumers", "anna")).error_msg == "consumer not found"


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
