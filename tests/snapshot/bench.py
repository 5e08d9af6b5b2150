"""A registry of small plugins, and tables with them. What a test observes is a plain summary of the tables."""

from __future__ import annotations

from typing import Any, ClassVar

from bascule.model.change import Change
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.registry import PluginDisabled, UnknownPlugin
from bascule.snapshot.references import Unresolved, with_secrets
from bascule.snapshot.tables import Tables


class BareHost:
    def __init__(self, plugin: str, holder: str) -> None:
        self.plugin = plugin
        self.holder = holder


def make_plugin(name: str, priority: int, phases: tuple[str, ...], **attributes: Any) -> type[Plugin]:
    class TheConfig(Config):
        tag: str = ""
        count: int | None = None

    def setup(self: Any, conf: Any, host: Any) -> None:
        self.conf = conf
        self.host = host
        self.closed = 0
        if conf is not None and conf.tag == "explode":
            raise RuntimeError("boom")

    def close(self: Any) -> None:
        self.closed += 1

    methods: dict[str, Any] = {phase: (lambda self, *args: None) for phase in phases}
    members = {"name": name, "priority": priority, "Config": TheConfig, "__init__": setup, "close": close}
    return type(name, (Plugin,), members | methods | attributes)


class KeyConf(Config):
    key: str


class KeyAuthMetadata(Config):
    realm: str = "default"


def consumer_key(cls: Any, conf: Any) -> str:
    return conf.key


class FakeRegistry:
    def __init__(self) -> None:
        auth: dict[str, Any] = {
            "type": "auth",
            "ConsumerConfig": KeyConf,
            "consumer_key": classmethod(consumer_key),
        }
        classes = [
            make_plugin("first", 3000, ("rewrite", "access", "log")),
            make_plugin("key-auth", 2500, ("rewrite",), **auth),
            make_plugin("other-auth", 2400, ("rewrite",), **auth),
            make_plugin("limit", 1000, ("access",), Metadata=KeyAuthMetadata),
            make_plugin("edit", 900, ("rewrite", "header_filter", "body_filter"), observes_body=True),
            make_plugin("metrics", 500, ("log",), run_policy="prefer_route", needs_task=True),
        ]
        self.classes = {plugin.name: plugin for plugin in classes}
        self.disabled: set[str] = {"off"}

    def get(self, name: str) -> type[Plugin]:
        if name in self.disabled:
            raise PluginDisabled(name)
        if name not in self.classes:
            raise UnknownPlugin(name)
        return self.classes[name]

    def names(self) -> list[str]:
        return list(self.classes)


class Bench:
    """Tables under test."""

    ENVIRONMENT: ClassVar[dict[str, str]] = {"KEY": "from-env", "JSON": '{"inner": "deep"}'}

    def __init__(self, **options: Any) -> None:
        self.registry = FakeRegistry()
        self.secrets: dict[str, str | Unresolved] = {}
        self.tables = Tables(
            self.registry,
            BareHost,
            resolve=with_secrets(self.ENVIRONMENT, self.secrets),
            **options,  # type: ignore[arg-type]
        )

    def put(self, kind: str, id: str, **value: Any) -> list[str]:
        return self.apply(Change(kind, id, value))

    def tell(self, **secrets: str | None) -> list[str]:
        """Secrets of vault/1/app that stand for something else now; None: for nothing any more."""
        changed = {
            f"$secret://vault/1/app/{key}": Unresolved(f"vault has no {key}") if value is None else value
            for key, value in secrets.items()
        }
        self.secrets |= changed
        return [str(error) for error in self.tables.refresh_references(changed).errors]

    def delete(self, kind: str, id: str) -> list[str]:
        return self.apply(Change(kind, id, None))

    def apply(self, *changes: Change) -> list[str]:
        return [str(error) for error in self.tables.apply(changes).errors]

    def route(self, path: str, host: str = "x.com", method: str = "GET") -> Any:
        return self.tables.router.match(method, host, path)

    def names(self, path: str) -> tuple[str, ...]:
        return self.tables.chain(self.route(path)).names

    def tags(self, path: str, consumer: str | None = None) -> dict[str, str]:
        """Plugin -> tag of the conf that is merged for a route, to see whose it is."""
        route = self.route(path)
        if consumer is None:
            chain = self.tables.chain(route)
        else:
            chain, _ = self.tables.consumer_chain(route, self.tables.find_consumer_by_name(consumer))
        return {
            hook.plugin: hook.call.__self__.conf.tag
            for phase in ("rewrite", "access", "header_filter", "log")
            for hook in getattr(chain, phase)
        }

    def refused(self) -> list[str]:
        return [str(error) for error in self.tables.refused]


def pairs(faults):
    """(JSON path, sentence) of each fault."""
    return [(fault.path, fault.sentence) for fault in faults.found]
