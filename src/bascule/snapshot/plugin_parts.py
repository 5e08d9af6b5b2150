"""What a plugin is made of besides its conf: upstreams of its own, and plugins that it runs by itself.

A constructor asks its host for them, and the host asks the PluginParts that it has while the plugin is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bascule.errors.sentences import json_path, placed
from bascule.model.upstream import Upstream
from bascule.plugin.plugin import Plugin
from bascule.plugin.upstream import Place, UpstreamHandle
from bascule.snapshot.faults import Faults
from bascule.snapshot.item_check import checked_upstream
from bascule.snapshot.upstream_compiler import Served

if TYPE_CHECKING:
    from bascule.plugin.host import Host

# (plugin name, conf, faults to add to, with places inside the conf) -> the plugin's class, None: there is none; and the
# checked conf, None with faults
CheckConf = Callable[[str, Mapping[str, Any], Faults], tuple[type[Plugin] | None, Any]]


class PluginParts:
    """Of one plugin that is being built. `holder`: "routes/1"; `place`: where its conf stands, ("plugins", name);
    `previous`: handles of its former version."""

    def __init__(
        self,
        holder: str,
        place: Place,
        served: Served,
        check_conf: CheckConf,
        make_host: Callable[[str, str], Host],
        previous: tuple[UpstreamHandle, ...],
        faults: Faults,
    ) -> None:
        self._holder = holder
        self._place = place
        self._served = served
        self._check_conf = check_conf
        self._make_host = make_host
        self._previous = previous
        self._faults = faults
        self.handles: list[UpstreamHandle] = []
        self.plugins: list[Plugin] = []

    def upstream(self, conf: Upstream | str, at: Place) -> UpstreamHandle:
        """See plugin/host.py."""
        place = (*self._place, *at)
        if isinstance(conf, str):
            handle = UpstreamHandle(f"upstreams/{conf}", place, id=conf)
        else:
            key = f"{self._holder}#{'/'.join(map(str, place))}"
            old = next((one.compiled for one in self._previous if one.key == key), None)
            compiled = checked_upstream(conf, key, None, old, place, self._served, self._faults)
            handle = UpstreamHandle(key, place, conf=conf, compiled=compiled)
        self.handles.append(handle)
        return handle

    def plugin(self, name: str, conf: Mapping[str, Any], at: Place) -> Plugin:
        """See plugin/host.py."""
        place = (*self._place, *at)
        host = self._make_host(name, f"{self._holder}#{'/'.join(map(str, place))}")
        wrong = Faults()
        plugin_class, checked = self._check_conf(name, conf, wrong)
        for fault in wrong.found:
            text = fault.text if plugin_class is None else f"failed to validate the '{name}' action: {fault.text}"
            path = json_path(place) + fault.path.removeprefix("$")
            self._faults.found.append(placed(place, path, fault.sentence, text, True))
        if plugin_class is None or checked is None:
            return Plugin(None, host)
        inner = PluginParts(
            self._holder, place, self._served, self._check_conf, self._make_host, self._previous, self._faults
        )
        plugin = inner.build(plugin_class, checked, host)
        self.handles += inner.handles
        self.plugins += [*inner.plugins, plugin]
        return plugin

    def build(self, plugin_class: type[Plugin], conf: Any, host: Any) -> Plugin:
        """The plugin, whose constructor may ask for parts; later it can't."""
        host.parts = self
        try:
            return plugin_class(conf, host)
        finally:
            host.parts = None


def building(parts: PluginParts | None) -> PluginParts:
    """For hosts. RuntimeError when nothing is being built."""
    if parts is None:
        raise RuntimeError("upstreams and plugins of a plugin are made in its constructor")
    return parts
