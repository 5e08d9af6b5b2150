"""`bascule run`: reads config.yaml, picks the store, starts the supervisor. The composition root."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.metadata import version as package_version
from pathlib import Path

from bascule.control.listening import ListenFailed
from bascule.control.logs import set_up
from bascule.control.supervisor import StartFailed, Supervisor
from bascule.errors.config_error import ConfigRefused
from bascule.model.config_yaml import parse_settings
from bascule.model.settings import Settings
from bascule.store.file import FileStore


def fail(text: str, code: int = 1) -> int:
    print(f"bascule: {text}", file=sys.stderr, flush=True)
    return code


def load_settings(config: Path | None) -> tuple[Settings, Path]:
    """The settings, and the folder that relative paths and apisix.yaml belong to. Raises ConfigRefused, OSError."""
    if config is None:
        config = Path("config.yaml")
        if not config.exists():
            return parse_settings(b"", "config.yaml", os.environ), Path.cwd()
    return parse_settings(config.read_bytes(), str(config), os.environ), config.resolve().parent


def resources_path(settings: Settings, folder: Path) -> Path:
    return folder / ("apisix.yaml" if settings.provider == "yaml" else "apisix.json")


def user_plugins(settings: Settings, folder: Path) -> tuple[str, ...]:
    """As the registry takes them: files as absolute paths, modules by name."""
    return tuple(str((folder / p).resolve()) if p.endswith(".py") else p for p in settings.bascule.plugins)


def run(config: Path | None, workers: str | None, strict: bool) -> int:
    """Serves until a signal; the exit code."""
    try:
        settings, folder = load_settings(config)
    except ConfigRefused as refused:
        for error in refused.errors:
            print(error, file=sys.stderr)
        return 1
    except OSError as error:
        return fail(f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}")
    try:
        count = worker_count(settings, workers)
    except ValueError as error:
        return fail(str(error), 2)
    set_up(settings.nginx_config.error_log_level, settings.nginx_config.error_log, "supervisor")
    for ignored in settings.ignored:
        print(f"bascule: ignored: {ignored}", file=sys.stderr)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    store = FileStore(resources_path(settings, folder), environ=os.environ)

    async def serve() -> None:
        supervisor = Supervisor(
            settings,
            store,
            version=package_version("bascule"),
            workers=count,
            strict=strict,
            user_plugins=user_plugins(settings, folder),
            say=lambda line: print(line, flush=True),
        )
        await supervisor.run()

    try:
        asyncio.run(serve())
    except ListenFailed as error:
        return fail(str(error))
    except StartFailed as error:
        for fault in error.errors:
            print(fault, file=sys.stderr)
        return fail(str(error))
    return 0


def worker_count(settings: Settings, option: str | None) -> int:
    """--workers beats worker_processes; "auto" and 0 mean one per processor."""
    wanted = settings.nginx_config.worker_processes
    if option is not None:
        if option == "auto":
            wanted = 0
        elif option.isascii() and option.isdigit() and 1 <= int(option) <= 1024:
            wanted = int(option)
        else:
            raise ValueError(f"--workers takes a number from 1 to 1024, or auto, not {option!r}")
    return wanted or len(os.sched_getaffinity(0))
