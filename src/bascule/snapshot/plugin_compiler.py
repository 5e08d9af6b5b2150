"""From a holder's `plugins` to plugin instances: first everything is checked, then, if all is well, built."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ValidationError

from bascule.errors.sentences import MOST, nearest
from bascule.match.expression import Expression, ExpressionError, compile_expression
from bascule.model.plugin_metadata import own_attributes
from bascule.plugin.registry import PluginDisabled, UnknownPlugin
from bascule.snapshot.chain import PHASES
from bascule.snapshot.compact_json import pack
from bascule.snapshot.faults import Faults
from bascule.snapshot.plugin_instance import PluginInstance, PluginSet
from bascule.snapshot.plugin_meta import NO_META, PluginMeta
from bascule.snapshot.plugin_parts import PluginParts
from bascule.snapshot.references import Replaced, Resolver, may_refer
from bascule.snapshot.upstream_compiler import Served

if TYPE_CHECKING:
    from bascule.plugin.host import Host
    from bascule.plugin.plugin import Plugin
    from bascule.plugin.upstream import UpstreamHandle

LOG = logging.getLogger("bascule.snapshot")


class PluginSource(Protocol):
    """What is asked of a registry."""

    def get(self, name: str) -> type[Plugin]: ...
    def names(self) -> Sequence[str]: ...


MakeHost = Callable[[str, str], "Host"]
OPEN: Any = object()  # a conf with references that are known elsewhere only: checked as far as it can be


@dataclass(frozen=True, slots=True)
class CheckedPlugin:
    """A conf that is fit to be built; `used`: what its references stood for; `kept`: the previous instance when
    nothing changed."""

    name: str
    plugin_class: type[Plugin]
    conf: Any
    packed_conf: bytes
    packed_meta: bytes
    meta: PluginMeta
    filter: Expression | None
    used: dict[str, str] | None = None
    kept: PluginInstance | None = None


@dataclass(frozen=True, slots=True)
class Auth:
    """A consumer's conf of an authentication plugin; `key` is what it is found by."""

    plugin: str
    key: str | None
    conf: Any


class PluginCompiler:
    def __init__(
        self, registry: PluginSource, make_host: MakeHost, resolver: Resolver, served: Served | None = None
    ) -> None:
        self._registry = registry
        self._make_host = make_host
        self._served = served or Served()
        self.resolver = resolver

    def check(
        self, plugins: dict[str, dict[str, Any]] | None, previous: PluginSet | None, faults: Faults
    ) -> list[CheckedPlugin]:
        checked = []
        for name, conf in (plugins or {}).items():
            found = self._check_one(name, conf, previous.instances.get(name) if previous else None, faults)
            if found is not None:
                checked.append(found)
            if len(faults.found) > MOST:
                break
        return checked

    def build(
        self, checked: list[CheckedPlugin], holder: str, previous: PluginSet | None, faults: Faults
    ) -> PluginSet | None:
        """None for no plugins. A plugin whose conf didn't change is kept, with its state; when nothing changed at all,
        so is the set. With a fault, what was newly made is closed again."""
        instances: dict[str, PluginInstance] = {}
        made: list[Plugin] = []
        for item in checked:
            instance = item.kept or self._build_one(item, holder, previous, made, faults)
            if instance is not None:
                instances[item.name] = instance
        if faults:
            close(made)
            return None
        if previous is not None and previous.instances == instances:
            return previous
        return PluginSet(holder, instances) if instances else None

    def check_anyway(self, value: Any, faults: Faults, of_consumer: bool = False) -> None:
        """For an item whose own attributes are wrong already: what is wrong with its plugins, as far as can be read."""
        plugins = value.get("plugins") if isinstance(value, dict) else None
        if isinstance(plugins, dict):
            readable = {name: conf for name, conf in plugins.items() if isinstance(conf, dict)}
            if of_consumer:
                _, readable = self.check_auth(readable, faults)
            self.check(readable, None, faults)

    def check_auth(
        self, plugins: dict[str, dict[str, Any]] | None, faults: Faults
    ) -> tuple[tuple[Auth, ...], dict[str, dict[str, Any]]]:
        """The authentication confs among a consumer's plugins, and the other plugins."""
        found: list[Auth] = []
        others: dict[str, dict[str, Any]] = {}
        for name, conf in (plugins or {}).items():
            plugin_class = self._plugin_class(name, faults) if len(faults.found) <= MOST else None
            if plugin_class is None:
                continue
            model = plugin_class.ConsumerConfig
            if model is None:
                others[name] = conf
                continue
            own = {attribute: value for attribute, value in conf.items() if attribute != "_meta"}
            checked, _ = self._validated(model, own, pack(own), ("plugins", name), faults)
            if checked is OPEN:
                found.append(Auth(name, None, None))
            elif checked is not None:
                found.append(Auth(name, plugin_class.consumer_key(checked), checked))
        return tuple(found), others

    def check_metadata(self, name: str, value: dict[str, Any], faults: Faults) -> Any:
        plugin_class = self._plugin_class(name, faults, at=())
        if plugin_class is None:
            return None
        if plugin_class.Metadata is None:
            faults.add((), f'plugin "{name}" takes no metadata')
            return None
        own = own_attributes(value, frozenset(plugin_class.Metadata.model_fields))
        return self._validated(plugin_class.Metadata, own, pack(own), (), faults)[0]

    def default_metadata(self, name: str) -> Any:
        """The plugin's metadata when none is configured; None when it has none or needs some."""
        try:
            model = self._registry.get(name).Metadata
            return None if model is None else model()
        except (UnknownPlugin, PluginDisabled, ValidationError):
            return None

    def _plugin_class(self, name: str, faults: Faults, at: Sequence[str] | None = None) -> type[Plugin] | None:
        parts = ("plugins", name) if at is None else at
        text = f"unknown plugin [{name}]" if at is None else "invalid plugin name"
        try:
            return self._registry.get(name)
        except UnknownPlugin:
            sentence = f'unknown plugin "{name}"{nearest(name, self._registry.names())}'
            faults.add(parts, sentence, text, semantic=True)
        except PluginDisabled:
            sentence = f'plugin "{name}" is disabled: it is not in the list "plugins" of config.yaml'
            faults.add(parts, sentence, text, semantic=True)
        except Exception as error:  # a user's plugin that doesn't import
            faults.add(parts, f'plugin "{name}" can\'t be loaded: {error}')
        return None

    def _check_one(
        self, name: str, conf: dict[str, Any], previous: PluginInstance | None, faults: Faults
    ) -> CheckedPlugin | None:
        plugin_class = self._plugin_class(name, faults)
        if plugin_class is None:
            return None
        if "_meta" in conf:
            own = {attribute: value for attribute, value in conf.items() if attribute != "_meta"}
            packed_meta = pack(conf["_meta"])
        else:
            own, packed_meta = conf, b""
        packed = pack(own)
        if previous is not None and previous.conf == packed and previous.meta == packed_meta:
            plugin = previous.plugin
            if (plugin is None or type(plugin) is plugin_class) and self._stand_for_the_same(own, packed, previous):
                return CheckedPlugin(name, plugin_class, None, packed, packed_meta, NO_META, None, None, previous)
        parts = ("plugins", name)
        meta, condition = self._check_meta(conf["_meta"], (*parts, "_meta"), faults) if packed_meta else (NO_META, None)
        if meta.disable and not own:  # {"_meta": {"disable": true}} switches off without repeating the conf
            return CheckedPlugin(name, plugin_class, None, packed, packed_meta, meta, condition)
        checked, used = self._validated(plugin_class.Config, own, packed, parts, faults)
        return CheckedPlugin(name, plugin_class, checked, packed, packed_meta, meta, condition, used)

    def _stand_for_the_same(self, own: dict[str, Any], packed: bytes, previous: PluginInstance) -> bool:
        """The references of a conf, as when `previous` was made of it."""
        if not may_refer(packed):
            return True
        replaced = self.resolver.replace(own)
        return not replaced.faults and (replaced.used or None) == previous.used

    def _check_meta(self, value: Any, parts: tuple[str, ...], faults: Faults) -> tuple[PluginMeta, Expression | None]:
        try:
            meta = PluginMeta.model_validate(value)
        except ValidationError as error:
            faults.add_invalid(error, value, PluginMeta, parts)
            return NO_META, None
        return meta, None if meta.filter is None else check_expression(meta.filter, (*parts, "filter"), faults)

    def _validated(
        self, model: type[BaseModel], value: dict[str, Any], packed: bytes, parts: tuple[str, ...], faults: Faults
    ) -> tuple[Any, dict[str, str] | None]:
        """The conf, with what its references stood for; OPEN when it can't be built here, None with faults."""
        replaced: Replaced | None = None
        if may_refer(packed):
            replaced = self.resolver.replace(value)
            for inner, sentence in replaced.faults:
                faults.add((*parts, *inner), sentence)
            if replaced.faults:
                return None, None
            value = replaced.value
        try:
            conf = model.model_validate(value)
        except ValidationError as error:
            found = Faults()
            found.add_invalid(error, value, model, parts)
            if replaced is not None:
                found.leave_out(replaced.open, parts)
            faults.found += found.found
            return None if found or replaced is None else OPEN, None
        except Exception as error:  # a mistake in the plugin's own validators
            faults.add(parts, f"the plugin's check of its conf failed: {type(error).__name__}: {error}")
            return None, None
        if replaced is None:
            return conf, None
        return OPEN if replaced.open else conf, replaced.used or None

    def _build_one(
        self, item: CheckedPlugin, holder: str, previous: PluginSet | None, made: list[Plugin], faults: Faults
    ) -> PluginInstance | None:
        plugin: Plugin | None = None
        handles: tuple[UpstreamHandle, ...] = ()
        inner: tuple[Plugin, ...] = ()
        if not item.meta.disable and item.conf is not OPEN:
            old = previous.instances.get(item.name) if previous else None
            unchanged = old is not None and old.conf == item.packed_conf and old.used == item.used
            if unchanged and old is not None and type(old.plugin) is item.plugin_class:
                plugin, handles, inner = old.plugin, old.upstreams, old.inner  # only _meta changed
            else:
                known = () if old is None else old.upstreams
                parts = PluginParts(
                    holder, ("plugins", item.name), self._served, self.check_part, self._make_host, known, faults
                )
                try:
                    plugin = parts.build(item.plugin_class, item.conf, self._make_host(item.name, holder))
                except Exception as error:  # whatever a plugin's constructor may raise
                    faults.add(("plugins", item.name), f"the plugin can't be set up: {error}")
                    close(parts.plugins)
                    return None
                made += [plugin, *parts.plugins]
                handles, inner = tuple(parts.handles), tuple(parts.plugins)
        meta = item.meta
        return PluginInstance(
            item.name,
            plugin,
            item.packed_conf,
            item.packed_meta,
            item.plugin_class.priority if meta.priority is None else meta.priority,
            item.plugin_class.run_policy == "prefer_route",
            item.filter,
            meta.error_response,
            item.used,
            handles,
            inner,
        )

    def check_part(self, name: str, conf: Mapping[str, Any], faults: Faults) -> tuple[type[Plugin] | None, Any]:
        """For a plugin that another one runs: see plugin_parts.py."""
        try:
            plugin_class = self._registry.get(name)
        except (UnknownPlugin, PluginDisabled) as error:
            faults.add((), f"can't be used: {error}", f"unsupported action: {name}", semantic=True)
            return None, None
        checked, _ = self._validated(plugin_class.Config, dict(conf), pack(conf), (), faults)
        return plugin_class, None if checked is OPEN else checked


def check_expression(value: list[Any], parts: Sequence[str | int], faults: Faults) -> Expression | None:
    try:
        return compile_expression(value)
    except ExpressionError as error:
        faults.add_expression(parts, error)
    return None


def close(plugins: list[Plugin]) -> None:
    """Tells plugins that their conf went away; what they raise is logged."""
    for plugin in plugins:
        try:
            plugin.close()
        except Exception:
            LOG.exception("plugin %s failed to close", plugin.name)
        # A plugin may have chosen one of its own methods as a hook. Requests that run have it; kept here it would be a
        # cycle, for the garbage collector to find.
        own = getattr(plugin, "__dict__", {})
        for phase in PHASES:
            if getattr(own.get(phase), "__self__", None) is plugin:
                del own[phase]
