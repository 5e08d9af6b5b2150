import pytest

from bascule.plugin.kit.json_schema import JsonSchema, SchemaError

SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "size": {"type": "integer", "default": 3},
        "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"default": [1]}}}},
        "any": True,
    },
}


@pytest.mark.parametrize(
    ("instance", "error"),
    [
        ({"name": "ab"}, None),
        ({}, "'name' is a required property"),
        ({"name": 5}, "name: 5 is not of type 'string'"),
        ({"name": "ab", "list": [5]}, "list[0]: 5 is not of type 'object'"),
        (5, "5 is not of type 'object'"),
    ],
)
def test_errors_have_their_place(instance, error):
    assert JsonSchema(SCHEMA).error(instance) == error


def test_defaults_are_filled_into_a_copy():
    instance = {"list": [{}, {"x": 2}, 5], "any": {}}
    assert JsonSchema(SCHEMA).with_defaults(instance) == {"size": 3, "list": [{"x": [1]}, {"x": 2}, 5], "any": {}}
    assert instance == {"list": [{}, {"x": 2}, 5], "any": {}}


def test_without_defaults_nothing_is_copied():
    instance = {"a": 1}
    assert JsonSchema({"type": "object"}).with_defaults(instance) is instance


def test_schemas_are_checked():
    with pytest.raises(SchemaError, match="typo"):
        JsonSchema({"type": "typo"})


def test_references_are_local_only():
    schema = JsonSchema({"$ref": "#/definitions/a", "definitions": {"a": {"type": "integer"}}})
    assert schema.error("x") == "'x' is not of type 'integer'"
    assert "http://absent.test/s" in JsonSchema({"$ref": "http://absent.test/s"}).error(1)


def test_the_draft_is_the_schemas_choice():
    assert JsonSchema(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [{"type": "integer"}]}
    ).error(["x"])
    assert JsonSchema({"prefixItems": [{"type": "integer"}]}).error(["x"]) is None


def test_boolean_schemas():
    assert JsonSchema(True).error(1) is None
    assert JsonSchema(False).error(1)


def test_deep_data_is_refused():
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert "deep" in JsonSchema({"type": "array", "items": {"$ref": "#"}}).error(deep)
