"""`bascule check`: everything that `run` would refuse, without serving."""

from __future__ import annotations

import os
from pathlib import Path

from bascule.cli.refusal import count, fail, fail_with
from bascule.cli.settings_file import Configured, read_settings
from bascule.cli.version import missing_modules
from bascule.errors.config_error import ConfigRefused


def check(config: Path | None, files: list[Path]) -> int:
    """Prints every error of config.yaml, of plugins' code and of the resources in `files` (by default those of the
    standalone file, if there is one); 0 when there is none, else 1."""
    missing = missing_modules()
    if missing:
        return fail(f"not compiled: {', '.join(missing)}; build the package again (pip install .)")
    try:
        configured = read_settings(config)
    except (ConfigRefused, OSError) as error:
        return fail_with(error)
    # From here on: what they import needs the compiled modules.
    from bascule.control.acme.keeper import check as check_acme
    from bascule.control.discovery.types import check as check_discovery

    try:
        check_acme(configured.settings.bascule.acme, str(configured.folder), configured.file)
        check_discovery(configured.settings.discovery, configured.file, str(configured.folder))
    except ConfigRefused as error:
        return fail_with(error)
    resources, found = _look(configured, files)
    for text in found:
        print(text)
    if found:
        return fail(f"{count(len(found), 'error')} in {count(resources, 'resource')}")
    provider = configured.settings.provider
    if not files and provider in ("sqlite", "etcd") and not configured.resources_path.exists():
        where = "the embedded store" if provider == "sqlite" else "etcd"
        print(f"{configured.file}: no errors; the resources are in {where}, where the Admin API checks each write")
    else:
        print(f"{count(resources, 'resource')}, no errors")
    return 0


def _look(configured: Configured, files: list[Path]) -> tuple[int, list[str]]:
    """The number of resources, and every error."""
    from bascule.cli.checking_tables import checking_tables
    from bascule.plugin.registry import Registry
    from bascule.store.file import FileStore

    settings = configured.settings
    configured.allow_imports()
    found: list[str] = []
    resources = 0
    for path in files or [configured.resources_path]:
        if files and not path.exists():
            found.append(f"{path}: there is no such file")
            continue
        store = FileStore(path, environ=os.environ)
        loaded = store.load()
        registry = Registry(settings.plugins if loaded.plugins is None else loaded.plugins, configured.user_plugins)
        owner = configured.file if loaded.plugins is None else path
        code = [f"plugin code {reason}" for reason in registry.errors.values()]
        code += [f"{owner}: $.plugins: there is no plugin {name!r}" for name in registry.unknown]
        tables = checking_tables(settings, registry)
        tables.apply(loaded.changes)
        resources += len(loaded.changes)
        errors = sorted((*loaded.errors, *store.locate(tables.refused)), key=lambda error: error.line or 0)
        found += [text for text in (*code, *map(str, errors)) if text not in found]
    return resources, found
