import pytest

from bascule.admin.document_check import check_document
from bascule.admin.validator import Validator
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment

UP = {"nodes": {"127.0.0.1:1980": 1}}


@pytest.fixture(scope="module")
def told():
    validator = Validator(Registry(), resolve=from_environment({}))
    return lambda document: [item.told() for item in check_document(document, validator)]


@pytest.mark.parametrize(
    "document",
    [
        {},
        None,
        {"routes": [{"id": "r1", "uri": "/", "upstream": UP}], "services": [{"id": "s", "upstream": UP}]},
        {"routes": [{"uri": "/foo", "upstream": UP}, {"uri": "/bar", "upstream": UP}]},
        {"consumers": [{"username": "jack", "plugins": {"key-auth": {"key": "one"}}}]},
        {"routes_conf_version": 3, "routes": []},
    ],
)
def test_good(told, document):
    assert told(document) == []


def test_each_bad_item_is_told_once(told):
    found = told(
        {"upstreams": [{"id": "u", **UP, "type": "chash"}], "routes": [{"id": "r1", "uri": 1}, {"uri": 2, "x": 1}]}
    )
    assert found == [
        {
            "resource_type": "routes",
            "resource_id": "r1",
            "index": 0,
            "error": 'invalid configuration: property "uri" validation failed: wrong type: expected string, got number',
        },
        {
            "resource_type": "routes",
            "index": 1,
            "error": 'invalid configuration: property "uri" validation failed: wrong type: expected string, got number',
            "errors": [
                {
                    "path": "$.uri",
                    "message": 'invalid configuration: property "uri" validation failed: '
                    "wrong type: expected string, got number",
                },
                {"path": "$.x", "message": "invalid configuration: additional properties forbidden, found x"},
            ],
        },
        {"resource_type": "upstreams", "resource_id": "u", "index": 0, "error": "missing key"},
    ]


def test_ids_that_come_twice(told):
    route = {"id": "r1", "uri": "/", "upstream": UP}
    jack = {"username": "jack"}
    key = {"id": "jack/credentials/a", "plugins": {"key-auth": {"key": "one"}}}
    found = told({"routes": [route, route], "consumers": [jack, key, jack, key]})
    assert [(item["resource_type"], item["resource_id"], item["index"], item["error"]) for item in found] == [
        ("consumers", "jack", 2, "found duplicate username jack in consumers"),
        ("consumers", "jack/credentials/a", 3, "found duplicate credential id jack/credentials/a in consumers"),
        ("routes", "r1", 1, "found duplicate id r1 in routes"),
    ]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], {"error": "must be a mapping of kinds of resources to lists"}),
        (
            {"rotues": []},
            {"resource_type": "rotues", "error": 'unknown kind of resource "rotues"; did you mean "routes"?'},
        ),
        ({"routes": [3]}, {"resource_type": "routes", "index": 0, "error": "must be an object"}),
        ({"routes": {}}, {"resource_type": "routes", "error": "must be a list"}),
    ],
)
def test_documents_that_are_none(told, document, expected):
    assert told(document) == [expected]
