"""`bascule run`: reads config.yaml, picks the store, starts the supervisor. The composition root."""

from __future__ import annotations

import asyncio
import gc
import os
from importlib.metadata import version as package_version
from pathlib import Path

from bascule.cli.refusal import fail, fail_with
from bascule.cli.settings_file import Configured, read_settings
from bascule.cli.version import missing_modules
from bascule.errors.config_error import ConfigRefused
from bascule.model.settings import Settings


def run(config: Path | None, workers: str | None, strict: bool, take_over: int | None = None) -> int:
    """Serves until a signal; the exit code. `take_over`: a running gateway's sockets are used; the ready line is also
    written to this descriptor."""
    missing = missing_modules()
    if missing:
        return fail(f"not compiled: {', '.join(missing)}; build the package again (pip install .)")
    # What is imported now stays; to walk it again and again would be a tenth of the start.
    gc.disable()
    # From here on: what they import needs the compiled modules.
    from bascule.cli.composition import debug_key, make_parts
    from bascule.cli.services import add_services
    from bascule.control.acme.keeper import check as check_acme
    from bascule.control.discovery.types import check as check_discovery
    from bascule.control.fleet import StartFailed
    from bascule.control.handover import HandoverFailed, Taker, address_of
    from bascule.control.launch import Launch
    from bascule.control.listening import ListenFailed
    from bascule.control.logs import set_up
    from bascule.control.supervisor import Supervisor
    from bascule.store.entry import StoreUnavailable
    from bascule.store.generated import SecretFileRefused

    gc.freeze()
    gc.enable()

    def launch_of(configured: Configured) -> Launch:
        check_acme(configured.settings.bascule.acme, str(configured.folder), configured.file)
        check_discovery(configured.settings.discovery, configured.file, str(configured.folder))
        return Launch(
            configured.settings,
            worker_count(configured.settings, workers),
            configured.user_plugins,
            str(configured.folder),
            str(configured.home),
            workers_option=workers,
            store_folder=str(configured.store_folder),
        )

    try:
        configured = read_settings(config)
        launch = launch_of(configured)
    except (ConfigRefused, OSError) as error:
        return fail_with(error)
    except ValueError as error:
        return fail(str(error), 2)
    try:
        launch = launch.with_writable_logs()
        set_up(launch.settings.nginx_config.error_log_level, launch.error_log, "supervisor")
    except OSError as error:
        return fail(f"cannot write {error.filename}: {(error.strerror or str(error)).lower()}")
    launch.note_ignored()
    configured.note_unused_file()

    def say(line: str) -> None:
        print(line, flush=True)
        if take_over is not None:
            os.write(take_over, line.encode())
            os.close(take_over)

    upgrade_address = address_of(configured.file)

    async def serve() -> None:
        taker = None if take_over is None else Taker(upgrade_address)
        parts = make_parts(configured)
        supervisor = Supervisor(
            launch,
            parts.source,
            version=package_version("bascule"),
            strict=strict,
            say=say,
            read_launch=lambda: launch_of(read_settings(config)),
            upgrade_address=upgrade_address,
            debug_key=debug_key(configured),
        )
        notice = add_services(configured, parts, supervisor)
        if notice is not None:
            print(notice, flush=True)
        await supervisor.run(taker)

    try:
        asyncio.run(serve())
    except (ConfigRefused, OSError) as error:
        return fail_with(error)
    except (ListenFailed, StartFailed, HandoverFailed, SecretFileRefused, StoreUnavailable) as error:
        return fail(str(error))
    return 0


def worker_count(settings: Settings, option: str | None) -> int:
    """--workers beats worker_processes; "auto" and 0 mean one per processor. Raises ValueError."""
    wanted = settings.nginx_config.worker_processes
    if option is not None:
        if option == "auto":
            wanted = 0
        elif option.isascii() and option.isdigit() and 1 <= int(option) <= 1024:
            wanted = int(option)
        else:
            raise ValueError(f"--workers takes a number from 1 to 1024, or auto, not {option!r}")
    return wanted or len(os.sched_getaffinity(0))
