from typing import Any

import pytest

from bascule.admin.openapi_schema import OpenApiRefused, OpenApiSchemas
from bascule.plugin.kit.json_schema import JsonSchema


def schemas(old: bool = True, **components: Any) -> OpenApiSchemas:
    return OpenApiSchemas({"components": {"schemas": components}}, old=old)


REF = {"$ref": "#/components/schemas/Pet"}


def test_what_is_referred_to_comes_along_even_when_it_refers_to_itself() -> None:
    pet = {"type": "object", "properties": {"mother": REF, "name": {"type": "string"}}, "required": ["name"]}
    schema = schemas(Pet=pet).standalone({"type": "array", "items": REF}, "here")
    assert set(schema["$defs"]) == {"Pet"}
    check = JsonSchema(schema)
    assert check.error([{"name": "a", "mother": {"name": "b"}}]) is None
    assert "'name' is a required property" in str(check.error([{"name": "a", "mother": {}}]))


def test_a_bare_reference() -> None:
    schema = schemas(Pet={"type": "integer"}).standalone(REF, "here")
    assert JsonSchema(schema).error("x") is not None
    assert JsonSchema(schema).error(1) is None


def test_two_components_of_one_name() -> None:
    document = {"components": {"schemas": {"A": {"type": "string"}}, "x": {"A": {"type": "integer"}}}}
    both = {"properties": {"a": {"$ref": "#/components/schemas/A"}, "b": {"$ref": "#/components/x/A"}}}
    schema = OpenApiSchemas(document, old=True).standalone(both, "here")
    assert JsonSchema(schema).error({"a": "x", "b": 1}) is None
    assert JsonSchema(schema).error({"b": "x"}) is not None


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "nullable": True}, None, 1),
        ({"enum": ["a"], "nullable": True}, None, "b"),
        ({"allOf": [{"type": "string"}], "nullable": True}, None, 1),
        ({"minimum": 1, "exclusiveMinimum": True}, 2, 1),
        ({"maximum": 1, "exclusiveMaximum": False}, 1, 2),
        (
            {"properties": {"default": {"type": "string"}, "example": {"type": "string"}}},
            {"default": "x"},
            {"example": 1},
        ),
    ],
)
def test_schemas_of_version_3_0(schema: Any, good: Any, bad: Any) -> None:
    check = JsonSchema(schemas().standalone(schema, "here"))
    assert check.error(good) is None
    assert check.error(bad) is not None


def test_version_3_1_is_draft_2020_12() -> None:
    schema = schemas(old=False).standalone({"prefixItems": [{"type": "string"}], "default": 1}, "here")
    assert "default" not in schema
    assert JsonSchema(schema).error([1]) is not None


def test_true_and_false() -> None:
    assert JsonSchema(schemas().standalone(True, "here")).error(1) is None
    assert JsonSchema(schemas().standalone(False, "here")).error(1) is not None


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, "-12", "1.5"),
        ({"type": "number"}, "1.5e3", "x"),
        ({"type": "boolean"}, "true", "1"),
        ({"type": "string", "minLength": 2}, "ab", "a"),
        ({"type": "array"}, "a,b", 1),
        (REF, "7", "x"),
    ],
)
def test_parameters_are_text(schema: Any, good: str, bad: Any) -> None:
    check = JsonSchema(schemas(Pet={"type": "integer"}).of_parameter(schema, "here"))
    assert check.error(good) is None
    assert check.error(bad) is not None


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"$ref": "#/components/schemas/Nobody"}, 'here: "#/components/schemas/Nobody" leads nowhere'),
        ({"$ref": "other.yaml#/x"}, 'here: "other.yaml#/x" leads to another document'),
        (["x"], "here: a schema must be an object"),
    ],
)
def test_refusals(schema: Any, sentence: str) -> None:
    with pytest.raises(OpenApiRefused, match="here") as caught:
        schemas().standalone(schema, "here")
    assert str(caught.value).startswith(sentence)


def test_references_in_a_circle_and_schemas_without_end() -> None:
    document: dict[str, Any] = {"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}
    with pytest.raises(OpenApiRefused, match="in a circle"):
        OpenApiSchemas(document, old=True).resolve({"$ref": "#/a"}, "here")
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"not": deep}
    with pytest.raises(OpenApiRefused, match="nested too deeply"):
        schemas().standalone(deep, "here")


def test_pointers_into_lists_and_escaped_names() -> None:
    found = OpenApiSchemas({"paths": {"/a": [{"x": 1}]}}, old=True)
    assert found.resolve({"$ref": "#/paths/~1a/0/x"}, "here") == 1
