"""TLS sessions in memory that all workers share: a client resumes by a session's id whatever worker it meets.

Two tables of places, for small sessions and for large ones (with a client's certificate in them). A session's id, which
is random, names a row of four places; a new one takes a free place, else that of the oldest. Nobody locks: every entry
bears a keyed digest of all of it, so what two workers write at once, or one that dies halfway, is no session to
anybody.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b

from bascule.net.sealed_memory import sealed_memory

KEY_BYTES = 32
DIGEST_BYTES = 16
ID_BYTES = 32
_FIXED = DIGEST_BYTES + 4 + 2 + ID_BYTES  # digest, when it ends, length of the session, its id
_PLACES = ((512, 32768), (4096, 2048))  # bytes, how many
_ROW = 4
SIZE = KEY_BYTES + sum(size * count for size, count in _PLACES)  # of which the untouched costs nothing


class SessionCache:
    """`fd` is inherited by workers, which attach to it. A session that doesn't fit in is not kept."""

    def __init__(self, fd: int, now: Callable[[], float] = time.time) -> None:
        self.fd = fd
        self._now = now
        self._memory = mmap.mmap(fd, SIZE)
        self._key = bytes(self._memory[:KEY_BYTES])

    @classmethod
    def create(cls, now: Callable[[], float] = time.time) -> SessionCache:
        return cls(sealed_memory("bascule-tls-sessions", SIZE, os.urandom(KEY_BYTES)), now)

    def put(self, id: bytes, session: bytes, lasts_s: int) -> None:
        base = KEY_BYTES
        for size, count in _PLACES:
            if len(session) <= size - _FIXED:
                break
            base += size * count
        else:
            return
        ends = int(self._now()) + lasts_s
        body = ends.to_bytes(4, "big") + len(session).to_bytes(2, "big") + id.ljust(ID_BYTES, b"\0") + session
        row = list(_row(id, base, size, count))
        at = min(row, key=lambda place: self._ends(place, id))
        self._memory[at : at + DIGEST_BYTES + len(body)] = self._digest(body) + body

    def get(self, id: bytes) -> bytes | None:
        base = KEY_BYTES
        wanted = id.ljust(ID_BYTES, b"\0")
        for size, count in _PLACES:
            for at in _row(id, base, size, count):
                if self._memory[at + _FIXED - ID_BYTES : at + _FIXED] != wanted:
                    continue
                entry = self._memory[at : at + size]
                length = int.from_bytes(entry[DIGEST_BYTES + 4 : DIGEST_BYTES + 6], "big")
                body = entry[DIGEST_BYTES : _FIXED + length]
                if self._digest(body) == entry[:DIGEST_BYTES] and int.from_bytes(body[:4], "big") > self._now():
                    return body[6 + ID_BYTES :]
            base += size * count
        return None

    def close(self) -> None:
        self._memory.close()
        os.close(self.fd)

    def _ends(self, at: int, id: bytes) -> int:
        """What orders the places of a row: the one of the same id first, then by when they end."""
        if self._memory[at + _FIXED - ID_BYTES : at + _FIXED] == id.ljust(ID_BYTES, b"\0"):
            return -1
        return int.from_bytes(self._memory[at + DIGEST_BYTES : at + DIGEST_BYTES + 4], "big")

    def _digest(self, body: bytes) -> bytes:
        return blake2b(body, digest_size=DIGEST_BYTES, key=self._key).digest()


def _row(id: bytes, base: int, size: int, count: int) -> Iterator[int]:
    first = int.from_bytes(id[:8], "big") % (count // _ROW) * _ROW
    return (base + (first + way) * size for way in range(_ROW))
