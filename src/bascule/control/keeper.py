"""The supervisor's side of the keeper: a small process that holds every listening socket, and outlives a killed
supervisor as its workers do. Whoever starts next with the same configuration takes the sockets from it, with the
connections that wait in them: so nobody is refused or reset, even if no worker was left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bascule.control import keeper_process
from bascule.control.abstract_names import abstract_names
from bascule.control.exit_status import exit_status
from bascule.control.handover import HandoverFailed, Offer, Taker, send_offer
from bascule.control.orphans import SERVE_ON_S

log = logging.getLogger("bascule.supervisor")

_ANSWER_S = 5.0
_STEADY_S = 10.0
_PAUSE_S = 0.5  # before it is started again, if it died often


class Keeper:
    """`holdings()` says what is to be held now; whoever changes that calls `changed`."""

    def __init__(self, upgrade_address: str, holdings: Callable[[], Offer]) -> None:
        self.pid: int | None = None
        self._told = asyncio.Event()
        self._name = _name(upgrade_address)
        self._holdings = holdings
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<keeper pid={self.pid}>"

    def start(self) -> None:
        """Starts the process, and starts it again whenever it ends."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="keep the sockets")

    def changed(self) -> None:
        """There is something else to hold."""
        self._told.clear()
        self._changed.set()

    async def holds(self, limit_s: float) -> bool:
        """Whether all of it is held, within `limit_s`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), limit_s)
        return self._told.is_set()

    async def end(self) -> None:
        """From here on nothing is held but by this process and its workers."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        quick_deaths = 0
        while True:
            began = time.monotonic()
            try:
                told = await self._once()
            except OSError as error:
                told = f"can't be started: {(error.strerror or str(error)).lower()}"
            quick_deaths = quick_deaths + 1 if time.monotonic() - began < _STEADY_S else 0
            log.warning("the process that keeps the listening sockets %s; starting it again", told)
            await asyncio.sleep(0 if quick_deaths <= 2 else _PAUSE_S)

    async def _once(self) -> str:
        """The life of one process; how it ended. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ours.settimeout(_ANSWER_S)
            with theirs:
                process = self._spawn(theirs.fileno())
            exited = exit_status(process)
            telling: asyncio.Future[bool] | None = None
            self.pid = process.pid
            self.changed()
            try:
                while not exited.done():
                    change = asyncio.ensure_future(self._changed.wait())
                    events: set[asyncio.Future[Any]] = {change, exited}
                    await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
                    change.cancel()
                    if exited.done():
                        break
                    self._changed.clear()
                    telling = asyncio.ensure_future(asyncio.to_thread(_tell, ours, _copy(self._holdings())))
                    if not await asyncio.shield(telling):
                        break
                    if not self._changed.is_set():
                        self._told.set()
            finally:
                self.pid = None
                self._told.clear()
                process.kill()
                status = await exited
                if telling is not None:
                    await asyncio.gather(telling, return_exceptions=True)  # over at once, now that nobody answers
        return f"was killed by signal {-status}" if status < 0 else f"ended with exit code {status}"

    def _spawn(self, descriptor: int) -> subprocess.Popen[bytes]:
        script = str(Path(keeper_process.__file__))
        arguments = [str(descriptor), self._name, str(os.getpid()), str(SERVE_ON_S)]
        return subprocess.Popen(
            # -I -S: neither users' settings nor installed packages; the script needs nothing of them.
            [sys.executable, "-I", "-S", script, *arguments],
            pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )


def _copy(offer: Offer) -> Offer:
    """With descriptors of its own, since they are sent in a thread. Raises OSError."""
    copy = Offer(offer.facts)
    try:
        for what, fd in offer.sockets:
            copy.sockets.append((what, os.dup(fd)))
    except OSError:
        for _, fd in copy.sockets:
            os.close(fd)
        raise
    return copy


def _tell(channel: socket.socket, offer: Offer) -> bool:
    """Whether the keeper has it all now."""
    try:
        send_offer(channel, offer)
        channel.sendall(keeper_process.ALL)
        return channel.recv(64) == b"kept"
    except OSError:
        return False
    finally:
        for _, fd in offer.sockets:
            os.close(fd)


def _name(upgrade_address: str) -> str:
    """What the names of this configuration's keepers begin with; the process ids of supervisor and keeper follow."""
    return f"{upgrade_address[1:]}-kept"


def left_behind(upgrade_address: str) -> list[Taker]:
    """What keepers of killed supervisors hold. Each of them goes when its taker is told `ready`."""
    takers = []
    for name in abstract_names(f"\0{_name(upgrade_address)}-"):
        supervisor = name.rsplit("-", 2)[1]
        if supervisor.isdigit() and not _lives(int(supervisor)):
            with contextlib.suppress(HandoverFailed):  # it has gone meanwhile, or is not ours
                taker = Taker(name)
                taker.wait_released()  # what isn't read before closing would hide a "ready"
                takers.append(taker)
    return takers


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
