"""One worker as the supervisor sees it: its process and its channel; replaced when it dies."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from bascule.control.boot import Boot
from bascule.control.channel import Channel
from bascule.control.exit_status import exit_status

log = logging.getLogger("bascule.supervisor")

# Without the garbage collector, which would walk all that is being imported, again and again; the worker enables it.
# -P: what lies in the present directory must not be taken for a module of ours.
COMMAND = (sys.executable, "-P", "-c", "import gc; gc.disable(); from bascule.control.worker import main; main()")
STEADY_S = 10.0  # a worker that lived this long has not crashed at its start
MAX_BACKOFF_S = 10.0
SERVED_BACKOFF_S = 0.5  # of one that served: requests wait meanwhile, and it may be somebody else who kills it


class WorkerSlot:
    """`make_boot(id)` gives what a starting worker is told; `fds(id)` the descriptors that it inherits;
    `on_message(slot, message)` gets what it says, `on_end(slot)` comes after each end of a process."""

    def __init__(
        self,
        worker_id: int,
        make_boot: Callable[[int], Boot],
        fds: Callable[[int], tuple[int, ...]],
        on_message: Callable[[WorkerSlot, tuple[Any, ...]], None],
        on_end: Callable[[WorkerSlot], None],
    ) -> None:
        self.worker_id = worker_id
        self.generation = 0
        self.ready = asyncio.Event()
        self.serving = False  # what changes must reach it before they are in effect
        self.restarts = 0
        self.started_at = 0.0
        self.heard_at = 0.0
        self.pid: int | None = None
        self.last_exit: str | None = None
        self.stats: dict[str, Any] = {}
        self._make_boot = make_boot
        self._fds = fds
        self._on_message = on_message
        self._on_end = on_end
        self._channel: Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._quick_deaths = 0

    def __repr__(self) -> str:
        return f"<worker {self.worker_id} pid={self.pid} ready={self.ready.is_set()} restarts={self.restarts}>"

    def send(self, *message: Any) -> None:
        if self._channel is not None:
            self._channel.send(*message)

    async def run(self) -> None:
        """Starts the worker, and starts it again whenever it ends, until told to stop."""
        while not self._stopping:
            served = await self._once()
            if self._stopping:
                return
            self.restarts += 1
            quick = time.monotonic() - self.started_at < STEADY_S
            self._quick_deaths = self._quick_deaths + 1 if quick else 0
            # The first death is answered at once; one that crashes as it starts is given time.
            limit_s = SERVED_BACKOFF_S if served else MAX_BACKOFF_S
            pause_s = 0.0 if self._quick_deaths <= 2 else min(limit_s, 0.1 * 2**self._quick_deaths)
            log.error(
                "worker %d ended (%s); starting it again%s",
                self.worker_id,
                self.last_exit,
                f" in {pause_s:.1f} s: it keeps crashing" if pause_s else "",
            )
            if pause_s:
                await asyncio.sleep(pause_s)

    async def _once(self) -> bool:
        """The life of one process; whether it came to serve."""
        self.started_at = self.heard_at = time.monotonic()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = process = self._spawn(theirs.fileno())
        except OSError as error:
            ours.close()
            self.last_exit = f"can't be started: {(error.strerror or str(error)).lower()}"
            return False
        self.pid = process.pid
        exited = exit_status(process)
        self._channel = channel = await Channel.open(ours)
        try:
            channel.send(self._make_boot(self.worker_id))
            while True:
                message = await channel.receive()
                self.heard_at = time.monotonic()
                try:
                    self._on_message(self, message)
                except Exception:  # a mistake of ours must not cost the worker
                    log.exception("internal error over what worker %d told (%s)", self.worker_id, message[0])
        except EOFError:
            pass
        finally:
            self._channel = None
            channel.close()
        status = await exited
        self.last_exit = f"killed by signal {-status}" if status < 0 else f"exit code {status}"
        served = self.ready.is_set()
        self.ready.clear()
        self.serving = False
        self._on_end(self)
        self.pid = None
        return served

    def _spawn(self, channel_fd: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, str(channel_fd)],
            pass_fds=(channel_fd, *self._fds(self.worker_id)),
            stdin=subprocess.DEVNULL,
        )

    def drain(self, timeout_s: float) -> None:
        """Asks the worker to finish what it has and end; `run` returns when it did."""
        self._stopping = True
        if self._channel is not None and self.ready.is_set():
            self.send("drain", timeout_s)
        else:
            self.kill()  # it serves nothing yet

    def kill(self) -> None:
        self._stopping = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.worker_id,
            "pid": self.pid,
            "ready": self.ready.is_set(),
            "generation": self.generation,
            "restarts": self.restarts,
            "uptime_s": round(time.monotonic() - self.started_at, 1) if self.pid else 0,
            "last_heard_s": round(time.monotonic() - self.heard_at, 1),
            "last_exit": self.last_exit,
        }
