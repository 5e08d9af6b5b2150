"""Schemas of an OpenAPI document as JSON Schemas that stand alone: what they refer to comes along in `$defs`."""

from __future__ import annotations

from typing import Any

# They say nothing about what is valid; with `default` the gateway would fill in what the client left out.
_ANNOTATIONS = frozenset(
    ("default", "example", "examples", "xml", "externalDocs", "discriminator", "deprecated", "readOnly", "writeOnly")
)
_BY_NAME = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
_LISTS = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_LIMITS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_DRAFT = "https://json-schema.org/draft/2020-12/schema"  # of OpenAPI 3.1
MAX_REFERENCES = 50  # one leading to the next
_PARAMETER_PATTERNS = {"integer": r"^-?[0-9]+$", "number": r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"}


class OpenApiRefused(ValueError):
    """The document can't be imported; the sentence says what is wrong, and where."""


class OpenApiSchemas:
    """`document`: a whole OpenAPI document. `old`: version 3.0, whose schemas aren't quite JSON Schemas yet."""

    def __init__(self, document: dict[str, Any], *, old: bool) -> None:
        self._document = document
        self._old = old

    def resolve(self, value: Any, place: str) -> Any:
        """What a reference leads to, or the value itself. `place` is named when it leads nowhere. Raises
        OpenApiRefused."""
        for _ in range(MAX_REFERENCES):
            if not isinstance(value, dict) or not isinstance(value.get("$ref"), str):
                return value
            value = self._target(value["$ref"], place)
        raise OpenApiRefused(f"{place}: its references lead in a circle")

    def standalone(self, schema: Any, place: str) -> dict[str, Any]:
        """A JSON Schema without references to anything outside of it."""
        needed: dict[str, Any] = {}
        names: dict[str, str] = {}
        found = self._converted(schema, place, names)
        while missing := [reference for reference, name in names.items() if name not in needed]:
            for reference in missing:
                needed[names[reference]] = self._converted(self._target(reference, place), place, names)
        if not isinstance(found, dict):
            found = {} if found else {"not": {}}
        if "$ref" in found:  # beside it, draft 7 reads nothing else
            found = {"allOf": [found]}
        if needed:
            found = {**found, "$defs": needed}
        return found if self._old else {"$schema": _DRAFT, **found}

    def of_parameter(self, schema: Any, place: str) -> dict[str, Any]:
        """Of a header's value, which arrives as text whatever its schema says."""
        schema = self.resolve(schema, place)
        if not isinstance(schema, dict):
            return {}
        kind = schema.get("type")
        if kind in _PARAMETER_PATTERNS:
            return {"type": "string", "pattern": _PARAMETER_PATTERNS[kind]}
        if kind == "boolean":
            return {"type": "string", "enum": ["true", "false"]}
        return self.standalone(schema, place) if kind == "string" else {"type": "string"}

    def _target(self, reference: str, place: str) -> Any:
        if not reference.startswith("#/"):
            raise OpenApiRefused(f'{place}: "{reference}" leads to another document; bundle them into one first')
        value: Any = self._document
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            else:
                raise OpenApiRefused(f'{place}: "{reference}" leads nowhere')
        return value

    def _converted(self, schema: Any, place: str, names: dict[str, str], depth: int = 0) -> Any:
        if depth > 64:
            raise OpenApiRefused(f"{place}: the schema is nested too deeply")
        if not isinstance(schema, dict):
            if not isinstance(schema, bool):
                raise OpenApiRefused(f"{place}: a schema must be an object")
            return schema
        if isinstance(reference := schema.get("$ref"), str):
            return {"$ref": f"#/$defs/{_name(reference, names)}"}
        found: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _ANNOTATIONS or key.startswith("x-"):
                continue
            if key in _BY_NAME and isinstance(value, dict):
                found[key] = {name: self._converted(inner, place, names, depth + 1) for name, inner in value.items()}
            elif key in _LISTS and isinstance(value, list):
                found[key] = [self._converted(inner, place, names, depth + 1) for inner in value]
            elif isinstance(value, dict) and key not in ("const", "enum"):
                found[key] = self._converted(value, place, names, depth + 1)
            else:
                found[key] = value
        return _modern(found) if self._old else found


def _name(reference: str, names: dict[str, str]) -> str:
    """A name below `$defs` that no other reference has."""
    if reference not in names:
        last = reference.rpartition("/")[2].replace("~1", "_").replace("~0", "_")
        taken = set(names.values())
        names[reference] = last if last not in taken else f"{last}-{len(names)}"
    return names[reference]


def _modern(schema: dict[str, Any]) -> dict[str, Any]:
    """Of OpenAPI 3.0: `nullable`, and limits that are exclusive by a flag."""
    for exclusive, limit in _LIMITS.items():
        flag = schema.get(exclusive)
        if isinstance(flag, bool):
            del schema[exclusive]
            if flag and limit in schema:
                schema[exclusive] = schema.pop(limit)
    if schema.pop("nullable", None) is True:
        if isinstance(schema.get("type"), str):
            schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
        if "type" not in schema:
            return {"anyOf": [schema, {"type": "null"}]}
    return schema
