"""How a child process ended, awaited without a thread for each."""

from __future__ import annotations

import asyncio
import os
import subprocess


def exit_status(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Of a child of this process: as Popen.wait, negative for a signal."""
    loop = asyncio.get_running_loop()
    status: asyncio.Future[int] = loop.create_future()
    pidfd = os.pidfd_open(process.pid)

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        if not status.done():
            status.set_result(process.wait())

    loop.add_reader(pidfd, ended)
    return status
