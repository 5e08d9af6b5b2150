"""`bascule upgrade`: this installation takes over from the gateway that runs, without a refused connection."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bascule.cli.refusal import fail, fail_with
from bascule.cli.settings_file import read_settings
from bascule.errors.config_error import ConfigRefused


def upgrade(config: Path | None, workers: str | None) -> int:
    """Starts a gateway in the background that takes over; returns once it serves. The exit code."""
    from bascule.control.handover import HandoverFailed, Taker, address_of

    try:
        configured = read_settings(config)
        # Asked for its facts alone; hanging up afterwards is what a taker that failed does.
        facts = Taker.ask(address_of(configured.file))
    except (ConfigRefused, OSError) as error:
        return fail_with(error)
    except HandoverFailed as error:
        return fail(str(error))
    workers = workers or facts.get("workers")
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-m", "bascule", "run", "--take-over", str(writer)]
    command += ["--config", str(config)] if config is not None else []
    command += ["--workers", workers] if workers else []
    process = subprocess.Popen(command, pass_fds=(writer,), stdin=subprocess.DEVNULL, start_new_session=True)
    os.close(writer)
    with os.fdopen(reader) as ready:
        line = ready.read()
    if not line:
        return fail(f"the new gateway did not start (exit code {process.wait()}); the old one goes on")
    print(f"process {process.pid} has taken over from process {facts['pid']}: {line}")
    return 0
