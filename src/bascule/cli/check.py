"""`bascule check`: everything that `run` would refuse, without serving."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bascule.cli.run import fail, load_settings, resources_path, user_plugins
from bascule.errors.config_error import ConfigRefused
from bascule.observe.metrics import Metrics
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment
from bascule.snapshot.tables import Tables
from bascule.store.file import FileStore


class _QuietHost:
    """What a plugin gets while it is only checked: facts, and nothing that acts."""

    def __init__(self, plugin: str, holder: str, attr: Mapping[str, Any]) -> None:
        import logging

        self.log = logging.getLogger(f"bascule.plugin.{plugin}")
        self.holder = holder
        self.attr = attr
        self.settings: Mapping[str, Any] = {"version": "", "server_name": "Bascule", "https_port": None, "hostname": ""}
        self.random = random.Random(0)
        self.metrics = Metrics()
        self.counters: Any = None
        self.http: Any = None
        self.now = time.time
        self.monotonic = time.monotonic

    def metadata(self) -> Any:
        return None

    def state(self, key: str, factory: Any) -> Any:
        return factory()

    def spawn(self, coro: Any, name: str) -> None:
        coro.close()

    def call_later(self, seconds: float, fn: Any, *args: Any) -> Any:
        return _Never()

    async def sleep(self, seconds: float) -> None:
        raise RuntimeError("nothing runs while the configuration is checked")


class _Never:
    def cancel(self) -> None:
        return None


def check(config: Path | None, files: list[Path]) -> int:
    """Prints every error; 0 when there is none, else 1."""
    try:
        settings, folder = load_settings(config)
    except ConfigRefused as refused:
        for error in refused.errors:
            print(error)
        return fail(f"{len(refused.errors)} errors")
    except OSError as error:
        return fail(f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    found: list[str] = []
    count = 0
    registry = Registry(settings.plugins, user_plugins(settings, folder))
    found += [f"plugin code {source}: {reason}" for source, reason in registry.errors.items()]
    found += [f"config.yaml: $.plugins: there is no plugin {name!r}" for name in registry.unknown]
    for path in files or [resources_path(settings, folder)]:
        if files and not path.exists():
            found.append(f"{path}: there is no such file")
            continue
        loaded = FileStore(path, environ=os.environ).load()
        tables = Tables(
            registry,
            lambda plugin, holder: _QuietHost(plugin, holder, settings.attr.get(plugin) or {}),  # type: ignore[arg-type,return-value]
            settings.apisix.router.http,
            delete_uri_tail_slash=settings.apisix.delete_uri_tail_slash,
            resolve=from_environment(os.environ),
        )
        tables.apply(loaded.changes)
        count += len(loaded.changes)
        found += [str(e) for e in (*loaded.errors, *tables.refused)]
    for text in found:
        print(text)
    if found:
        return fail(f"{len(found)} errors in {count} resources")
    print(f"{count} resources, no errors")
    return 0
