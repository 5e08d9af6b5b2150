"""Resources with the defaults that apply to them, as APISIX shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bascule.admin.schemas import Schemas, schema_of
from bascule.plugin.plugin import Plugin
from bascule.plugin.registry import PluginDisabled, Registry, UnknownPlugin

if TYPE_CHECKING:
    from bascule.plugin.kit.json_schema import JsonSchema


class Defaults:
    """May be used from any thread."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._resources = Schemas(registry)
        self._by_kind: dict[str, JsonSchema | None] = {}
        # By class, since users' code may be loaded anew.
        self._by_plugin: WeakKeyDictionary[type[Plugin], JsonSchema] = WeakKeyDictionary()

    def complete(self, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        """A copy of a resource's value with the defaults of its attributes, and of its plugins'. What is wrong in it
        stays as it is."""
        if kind not in self._by_kind:
            schema = self._resources.resource(kind)
            self._by_kind[kind] = None if schema is None else _json_schema(schema)
        checker = self._by_kind[kind]
        completed: dict[str, Any] = value if checker is None else checker.with_defaults(value)
        plugins = completed.get("plugins")
        if not isinstance(plugins, dict):
            return completed
        return {**completed, "plugins": {name: self._conf(name, conf) for name, conf in plugins.items()}}

    def _conf(self, name: str, conf: Any) -> Any:
        if not isinstance(conf, dict):
            return conf
        try:
            plugin = self._registry.get(name)
        except (UnknownPlugin, PluginDisabled):
            return conf
        checker = self._by_plugin.get(plugin)
        if checker is None:
            checker = self._by_plugin[plugin] = _json_schema(schema_of(plugin.Config))
        return checker.with_defaults(conf)


def _json_schema(schema: Any) -> JsonSchema:
    from bascule.plugin.kit.json_schema import JsonSchema  # when first needed: a gateway starts without it

    return JsonSchema(schema)
