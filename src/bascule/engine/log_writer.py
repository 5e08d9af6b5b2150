"""Writes log text to a file from a thread of its own, so that a slow disk never stops traffic."""

import os
import queue
import sys
import threading


class LogWriter:
    """`write` only queues. When the disk cannot keep up, text beyond `max_pending_bytes` is dropped and counted."""

    def __init__(self, path: str, max_pending_bytes: int = 64 << 20) -> None:
        self.path = path
        self.dropped_bytes = 0
        self._max_pending = max_pending_bytes
        self._pending = 0
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reopen = False
        self._fd = self._open()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def _open(self) -> int:
        if self.path in ("/dev/stdout", "-"):
            return os.dup(sys.stdout.fileno())
        directory = os.path.dirname(self.path)
        if directory:
            os.makedirs(directory, exist_ok=True)
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, text: bytes) -> None:
        if self._pending + len(text) > self._max_pending:
            self.dropped_bytes += len(text)
            return
        self._pending += len(text)
        self._queue.put(text)

    def reopen(self) -> None:
        """Opens the path anew before the next write, as after a rotation."""
        self._reopen = True

    def close(self) -> None:
        """Writes what is queued, then closes."""
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while (text := self._queue.get()) is not None:
            self._pending -= len(text)
            try:
                if self._reopen:
                    self._reopen = False
                    fresh = self._open()
                    os.close(self._fd)
                    self._fd = fresh
                view = memoryview(text)
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError as error:
                self.dropped_bytes += len(text)
                print(f"access log {self.path}: {error.strerror}", file=sys.stderr, flush=True)
        os.close(self._fd)
