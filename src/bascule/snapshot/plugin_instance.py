"""A plugin's conf in one holder, made to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bascule.snapshot.chain import PHASES, Hook

if TYPE_CHECKING:
    from bascule.match.expression import Expression
    from bascule.plugin.plugin import Plugin
    from bascule.plugin.upstream import UpstreamHandle


class PluginInstance:
    """`plugin` None: switched off by `_meta.disable`. `conf` and `meta` are packed, to compare versions; `used`: what
    the references in the conf stood for, if there are any; `upstreams`: those that it holds itself;
    `inner`: plugins that it runs by itself."""

    __slots__ = (
        "_hooks",
        "conf",
        "error_response",
        "filter",
        "inner",
        "meta",
        "name",
        "plugin",
        "prefer_route",
        "priority",
        "upstreams",
        "used",
    )

    def __init__(
        self,
        name: str,
        plugin: Plugin | None,
        conf: bytes,
        meta: bytes,
        priority: int,
        prefer_route: bool = False,
        filter: Expression | None = None,
        error_response: str | dict[str, Any] | None = None,
        used: dict[str, str] | None = None,
        upstreams: tuple[UpstreamHandle, ...] = (),
        inner: tuple[Plugin, ...] = (),
    ) -> None:
        self.name = name
        self.plugin = plugin
        self.conf = conf
        self.meta = meta
        self.priority = priority
        self.prefer_route = prefer_route
        self.filter = filter
        self.error_response = error_response
        self.used = used
        self.upstreams = upstreams
        self.inner = inner
        self._hooks: dict[str, Hook] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} {self.priority}{'' if self.plugin else ' off'}>"

    def hooks(self) -> dict[str, Hook]:
        """Phase -> hook, of the phases which this conf needs. Made at first use, then the same objects."""
        if self._hooks is None:
            self._hooks = {} if self.plugin is None else self._make_hooks(self.plugin)
        return self._hooks

    def _make_hooks(self, plugin: Plugin) -> dict[str, Hook]:
        return {
            phase: Hook(
                call=getattr(plugin, phase),
                plugin=self.name,
                needs_task=plugin.needs_task,
                filter=self.filter,
                error_response=self.error_response,
                observes_body=plugin.observes_body,
                payload=plugin.ws_payload,
                max_bytes=plugin.ws_max_bytes,
            )
            for phase in plugin.hooks()
            if phase in PHASES
        }


class PluginSet:
    """The plugins of one holder ("routes/1"), by name."""

    __slots__ = ("holder", "instances")

    def __init__(self, holder: str, instances: dict[str, PluginInstance]) -> None:
        self.holder = holder
        self.instances = instances

    def __repr__(self) -> str:
        return f"<plugins of {self.holder}: {', '.join(map(repr, self.instances.values()))}>"

    def plugins_not_in(self, other: PluginSet | None) -> list[Plugin]:
        """Those that `other`, a later version of this set, did not take over."""
        kept = set() if other is None else {id(instance.plugin) for instance in other.instances.values()}
        gone: list[Plugin] = []
        for instance in self.instances.values():
            if instance.plugin is not None and id(instance.plugin) not in kept:
                gone += [instance.plugin, *instance.inner]
        return gone
