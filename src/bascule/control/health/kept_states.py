"""What is known of nodes' health, in memory that outlives this process: the next gateway begins with it.

The keeper holds that memory, and a newer gateway is handed it (control/handover.py). So a node that is known to be
unhealthy gets no requests from the workers of the next one either, before its own probes have found anything. Only
nodes that aren't plainly healthy are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
import weakref
import zlib
from collections.abc import Callable

log = logging.getLogger("bascule.health")

EVERY_S = 0.25  # for the case that this process is killed; a newer gateway is told the latest
LARGEST = 64 << 20
# Where the document begins, its length, its checksum. Written in one go, behind the document: one or the other holds.
_HEAD = struct.Struct("<8sQQI")
_MARK = b"HEALTH 1"


class KeptStates:
    """`fd`: of the memory. `look` gives the document; whoever knows sets it."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("health states")
        self.look: Callable[[], bytes] | None = None
        self._from = self._to = _HEAD.size
        self._left: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failed = False
        weakref.finalize(self, os.close, self.fd)

    def __repr__(self) -> str:
        return f"<kept states: {self._to - self._from} bytes>"

    def changed(self) -> None:
        """There is something else to keep."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self.save)

    def save(self) -> None:
        """Now."""
        self.stop()
        if self.look is None:
            return
        try:
            self._write(self.look())
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.error("health states can't be kept for the next gateway: %s", (error.strerror or "").lower())
            self._failed = True

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def inherit(self, fd: int) -> None:
        """What an older gateway kept; the descriptor is closed."""
        with contextlib.suppress(OSError, ValueError):
            self._left.append(read(fd))
        os.close(fd)

    def inherited(self) -> list[bytes]:
        """The documents of older gateways, once."""
        left, self._left = self._left, []
        return left

    def _write(self, document: bytes) -> None:
        """Beside the document that holds until then. Raises OSError."""
        size = len(document)
        at = _HEAD.size if _HEAD.size + size <= self._from else self._to
        written = 0
        while written < size:
            written += os.pwrite(self.fd, document[written:], at + written)
        os.pwrite(self.fd, _HEAD.pack(_MARK, at, size, zlib.crc32(document)), 0)
        self._from, self._to = at, at + size
        os.ftruncate(self.fd, self._to)


def read(fd: int) -> bytes:
    """The document. Raises OSError, and ValueError if there is none."""
    head = os.pread(fd, _HEAD.size, 0)
    if len(head) < _HEAD.size:
        raise ValueError("nothing was kept")
    mark, at, size, checksum = _HEAD.unpack(head)
    if mark != _MARK or size > LARGEST:
        raise ValueError("kept in another way")
    document = os.pread(fd, size, at)
    if zlib.crc32(document) != checksum:
        raise ValueError("damaged")
    return document
