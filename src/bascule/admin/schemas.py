"""JSON Schemas of resources and plugins, made from their models: what the Admin API serves for tools and dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from bascule.model.kinds import KINDS
from bascule.model.secret import MANAGERS
from bascule.plugin.plugin import Plugin
from bascule.plugin.registry import PluginDisabled, Registry, UnknownPlugin
from bascule.snapshot.plugin_meta import PluginMeta

Schema = dict[str, Any]
# APISIX's names of kinds in this place -> those of the store.
_NAMES = {
    "route": "routes",
    "service": "services",
    "upstream": "upstreams",
    "consumer": "consumers",
    "credential": "credentials",
    "consumer_group": "consumer_groups",
    "plugin_config": "plugin_configs",
    "plugin_metadata": "plugin_metadata",
    "global_rule": "global_rules",
    "ssl": "ssls",
    "stream_route": "stream_routes",
    "proto": "protos",
    "graphql_cost_decoration": "graphql_cost_decorations",
}
_SUBSYSTEMS = ("http", "stream")


class NoSuchSubsystem(ValueError):
    """The query's `subsystem` is neither "http" nor "stream"."""


class Schemas:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def resource(self, name: str) -> Schema | None:
        """`name`: "route", "service", … ; the plural does as well. None: there is no such kind."""
        kind = _NAMES.get(name, name)
        if kind in ("secret", "secrets"):
            return {"oneOf": [schema_of(model) for model in MANAGERS.values()]}
        model = KINDS.get(kind)
        return None if model is None else schema_of(model)

    def plugin(self, name: str, schema_type: str | None = None, subsystem: str = "http") -> Schema | None:
        """`schema_type`: "consumer", "metadata", all else: what a route holds. None: there is no such plugin, or no
        such schema of it. Raises NoSuchSubsystem."""
        plugin = self._plugin(name, subsystem)
        if plugin is None:
            return None
        if schema_type == "metadata":
            return None if plugin.Metadata is None else schema_of(plugin.Metadata)
        if schema_type == "consumer" and plugin.ConsumerConfig is not None:
            return _with_meta(schema_of(plugin.ConsumerConfig))
        return _with_meta(schema_of(plugin.Config))

    def names(self, subsystem: str = "http") -> list[str]:
        """Enabled plugins, highest priority first. Raises NoSuchSubsystem."""
        _check(subsystem)
        return [] if subsystem == "stream" else list(self._registry.names())

    def all(self, subsystem: str = "http") -> dict[str, Schema]:
        """What `GET /plugins?all=true` answers. Raises NoSuchSubsystem."""
        return {name: self.described(self._registry.get(name)) for name in self.names(subsystem)}

    @staticmethod
    def described(plugin: type[Plugin]) -> Schema:
        told = {
            "priority": plugin.priority,
            "version": plugin.version,
            "schema": _with_meta(schema_of(plugin.Config)),
            "consumer_schema": plugin.ConsumerConfig and _with_meta(schema_of(plugin.ConsumerConfig)),
            "metadata_schema": plugin.Metadata and schema_of(plugin.Metadata),
            "type": plugin.type,
            "run_policy": plugin.run_policy,
        }
        return {attribute: value for attribute, value in told.items() if value is not None}

    def _plugin(self, name: str, subsystem: str) -> type[Plugin] | None:
        _check(subsystem)
        if subsystem == "stream":
            return None
        try:
            return self._registry.get(name)
        except (UnknownPlugin, PluginDisabled):
            return None


def _check(subsystem: str) -> None:
    if subsystem not in _SUBSYSTEMS:
        raise NoSuchSubsystem(f"unsupported subsystem: {subsystem}")


def schema_of(model: type[BaseModel]) -> Schema:
    """Everything stands in its place, nothing is referred to; attributes that may be left out are told without null."""
    made = model.model_json_schema(by_alias=True)
    schema: Schema = _inlined(made, made.get("$defs", {}))
    return schema


def _inlined(node: Any, models: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, models) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        # Models of the configuration don't hold themselves, so this ends.
        referred = models[node["$ref"].rpartition("/")[2]]
        node = {**referred, **{key: value for key, value in node.items() if key != "$ref"}}
    made = {}
    for key, value in node.items():
        if key in ("$defs", "title", "discriminator", "description"):
            continue  # titles repeat the names; descriptions are the docstrings of classes, for readers of the code
        if key == "properties" and isinstance(value, dict):
            made[key] = {name: _inlined(inner, models) for name, inner in value.items()}
        elif key in ("default", "enum", "const", "examples"):
            made[key] = value
        else:
            made[key] = _inlined(value, models)
    return _not_null(made)


def _not_null(schema: Schema) -> Schema:
    """anyOf [X, null] with the default null -> X."""
    if schema.get("default", ...) is None:
        schema = {key: value for key, value in schema.items() if key != "default"}
    branches = schema.get("anyOf")
    if not isinstance(branches, list) or {"type": "null"} not in branches:
        return schema
    rest = [branch for branch in branches if branch != {"type": "null"}]
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**rest[0], **others} if len(rest) == 1 else {"anyOf": rest, **others}


def _with_meta(schema: Schema) -> Schema:
    meta = schema_of(PluginMeta)
    # As APISIX tells them: without defaults.
    attributes = {
        name: {k: v for k, v in inner.items() if k != "default"} for name, inner in meta["properties"].items()
    }
    return {**schema, "properties": {**schema.get("properties", {}), "_meta": {**meta, "properties": attributes}}}
