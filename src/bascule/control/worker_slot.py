"""One worker as the supervisor sees it: its sockets, its process, its channel; replaced when it dies."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from bascule.control.boot import Boot
from bascule.control.channel import Channel

log = logging.getLogger("bascule.supervisor")

STEADY_S = 10.0  # a worker that lived this long has not crashed at its start
MAX_BACKOFF_S = 10.0


class WorkerSlot:
    """`make_boot(id)` gives what a starting worker is told; `on_message(slot, message)` gets what it says."""

    def __init__(
        self,
        worker_id: int,
        make_boot: Callable[[int], Boot],
        pass_fds: Callable[[int], tuple[int, ...]],
        on_message: Callable[[WorkerSlot, tuple[Any, ...]], None],
    ) -> None:
        self.worker_id = worker_id
        self.generation = 0
        self.ready = False
        self.restarts = 0
        self.started_at = 0.0
        self.pid: int | None = None
        self.last_exit: str | None = None
        self._make_boot = make_boot
        self._pass_fds = pass_fds
        self._on_message = on_message
        self._channel: Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._quick_deaths = 0

    def send(self, *message: Any) -> None:
        if self._channel is not None:
            self._channel.send(*message)

    async def run(self) -> None:
        """Starts the worker, and starts it again whenever it ends, until told to stop."""
        while not self._stopping:
            await self._once()
            self.ready = False
            if self._stopping:
                return
            self.restarts += 1
            quick = time.monotonic() - self.started_at < STEADY_S
            self._quick_deaths = self._quick_deaths + 1 if quick else 0
            # The first death is answered at once; one that crashes as it starts is given time.
            pause_s = 0.0 if self._quick_deaths <= 2 else min(MAX_BACKOFF_S, 0.1 * 2**self._quick_deaths)
            log.error(
                "worker %d ended (%s); starting it again%s",
                self.worker_id,
                self.last_exit,
                f" in {pause_s:.1f} s: it keeps crashing" if pause_s else "",
            )
            if pause_s:
                await asyncio.sleep(pause_s)

    async def _once(self) -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        self.started_at = time.monotonic()
        env = dict(os.environ, PYTHONUNBUFFERED="1")
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "bascule.control.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(), *self._pass_fds(self.worker_id)),
                stdin=subprocess.DEVNULL,
                env=env,
            )
        finally:
            theirs.close()
        self._process = process
        self.pid = process.pid
        exited = loop.create_task(asyncio.to_thread(process.wait), name=f"wait for worker {self.worker_id}")
        self._channel = channel = await Channel.open(ours)
        try:
            channel.send(self._make_boot(self.worker_id))
            while True:
                self._on_message(self, await channel.receive())
        except EOFError:
            pass
        finally:
            self._channel = None
            channel.close()
        status = await exited
        self.last_exit = f"killed by signal {-status}" if status < 0 else f"exit code {status}"
        self.pid = None

    def drain(self, timeout_s: float) -> None:
        """Asks the worker to finish what it has and end; `run` returns when it did."""
        self._stopping = True
        self.send("drain", timeout_s)
        if self._channel is None and self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        self._stopping = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.worker_id,
            "pid": self.pid,
            "ready": self.ready,
            "generation": self.generation,
            "restarts": self.restarts,
            "uptime_s": round(time.monotonic() - self.started_at, 1) if self.pid else 0,
            "last_exit": self.last_exit,
        }
