import pytest

from bascule.model.graphql_cost_decoration import GraphqlCostDecoration


def test_accepted(told):
    value = {"field_path": "Query.products", "mul_arguments": ["first"], "add_value": 0.5, "service_id": 1}
    assert told(GraphqlCostDecoration, value) == []


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        ({}, ["$.field_path: is required"]),
        ({"field_path": "a", "mul_value": -1}, ["$.mul_value: must be at least 0"]),
        ({"field_path": "a", "add_arguments": []}, ["$.add_arguments: must hold at least 1 item"]),
    ],
)
def test_refused(told, value, errors):
    assert told(GraphqlCostDecoration, value) == errors


@pytest.mark.parametrize("path", ["", "9Query.products", "Query.", "Query..a", "Query a"])
def test_paths_that_no_schema_has(told, path):
    assert len(told(GraphqlCostDecoration, {"field_path": path})) == 1
