"""JSON Schema for data that passes the gateway."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

from jsonschema import exceptions, validators
from referencing import Registry
from referencing.exceptions import Unresolvable

from bascule.errors.apisix_text import lua_type

_MAX_DEPTH = 100  # of data that is checked: clients choose how deep it is
_DRAFT = validators.validator_for({"$schema": "http://json-schema.org/draft-07/schema#"})


class SchemaError(ValueError):
    """The schema itself is wrong; the message says where. `text`: APISIX's words for it."""

    def __init__(self, error: exceptions.SchemaError) -> None:
        super().__init__(f"{error.json_path}: {error.message}")
        self.text = self.args[0]
        if error.json_path.endswith(".type") and isinstance(error.instance, str):
            self.text = f"invalid JSON type: {error.instance}"
        elif error.validator == "type":
            self.text = f"table expected, got {lua_type(error.instance)}"


class JsonSchema:
    """A schema, compiled once. Draft 7 unless `$schema` names another; remote references are never fetched."""

    def __init__(self, schema: Mapping[str, Any] | bool) -> None:
        kind = validators.validator_for(schema, default=_DRAFT)
        try:
            kind.check_schema(cast(Any, schema))
        except exceptions.SchemaError as error:
            raise SchemaError(error) from None
        self.schema = schema
        self._validator = kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)
        self._has_defaults = _mentions(schema, "default")

    def error(self, instance: Any) -> str | None:
        """The first thing that is wrong with the instance, with its path; None when it is valid."""
        if _too_deep(instance):
            return f"nested more than {_MAX_DEPTH} deep"
        try:
            found = exceptions.best_match(self._validator.iter_errors(instance))
        except Unresolvable as error:
            return f"the schema has a reference that leads nowhere: {error.ref}"
        if found is None:
            return None
        path = found.json_path.removeprefix("$").removeprefix(".")
        return f"{path}: {found.message}" if path else str(found.message)

    def with_defaults(self, instance: Any) -> Any:
        """A copy with the defaults of absent properties filled in; the instance itself when there is nothing to fill.
        Follows `properties` and `items` only: which branch of an anyOf holds isn't known before."""
        if not self._has_defaults:
            return instance
        filled = copy.deepcopy(instance)
        _fill(self.schema, filled)
        return filled


def _fill(schema: Any, instance: Any) -> None:
    if not isinstance(schema, Mapping):
        return
    properties = schema.get("properties")
    if isinstance(instance, dict) and isinstance(properties, Mapping):
        for name, inner in properties.items():
            if not isinstance(inner, Mapping):
                continue
            if name not in instance and "default" in inner:
                instance[name] = copy.deepcopy(inner["default"])
            if name in instance:
                _fill(inner, instance[name])
    elif isinstance(instance, list) and isinstance(schema.get("items"), Mapping):
        for item in instance:
            _fill(schema["items"], item)


def _mentions(schema: Any, key: str) -> bool:
    if isinstance(schema, Mapping):
        return key in schema or any(_mentions(inner, key) for inner in schema.values())
    return isinstance(schema, list) and any(_mentions(inner, key) for inner in schema)


def _too_deep(instance: Any) -> bool:
    level = [instance]
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            below += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if not below:
            return False
        level = below
    return True
