"""Processes of their own at a shared table, for tests of what several of them do at a time."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

fork = multiprocessing.get_context("fork")
WAIT_S = 60


class Peer:
    """A process that does with a table what it is told, one call at a time: `work(table, kept)`, where `kept` is a
    dict of its own."""

    def __init__(self, kind: Any, fd: int) -> None:
        self._pipe, theirs = fork.Pipe()
        self.process = fork.Process(target=self._serve, args=(kind, fd, theirs))
        self.process.start()
        theirs.close()

    @staticmethod
    def _serve(kind: Any, fd: int, pipe: Any) -> None:
        table = kind.attach(fd)
        kept: dict[str, Any] = {}
        while (work := pipe.recv()) is not None:
            pipe.send(work(table, kept))

    def start(self, work: Callable[[Any, dict[str, Any]], Any]) -> None:
        self._pipe.send(work)

    def result(self) -> Any:
        assert self._pipe.poll(WAIT_S)
        return self._pipe.recv()

    def do(self, work: Callable[[Any, dict[str, Any]], Any]) -> Any:
        self.start(work)
        return self.result()

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(WAIT_S)

    def close(self) -> None:
        self._pipe.send(None)
        self.process.join(WAIT_S)
        assert self.process.exitcode == 0
