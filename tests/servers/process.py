"""A server process: started, awaited by connecting to it, stopped by its own process id; its output is kept."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# By how much the compiled code is slower under scripts/asan, at most: bounds of time count so many times over.
SLOWER = 5 if "asan" in os.environ.get("LD_PRELOAD", "") else 1


class ServerFailed(Exception):
    """A server did not come up, or did not go away; carries the tail of its output."""


class ServerProcess:
    """One child process in a session of its own, with stdout and stderr in `log_path`."""

    def __init__(
        self, argv: Sequence[str], log_path: Path, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ):
        self.argv = list(argv)
        self.log_path = log_path
        with log_path.open("ab") as out:
            self.popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                # scripts/asan preloads a runtime that is meant for our own code.
                env={**os.environ, "LD_PRELOAD": "", **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def log(self) -> str:
        """Everything that the process wrote so far."""
        return self.log_path.read_text(errors="replace")

    def wait_connectable(self, port: int, host: str = "127.0.0.1", timeout_s: float = 15) -> None:
        """Returns once `port` accepts a connection; fails at once when the process has ended."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.check_alive()
            try:
                socket.create_connection((host, port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise self._failed(f"port {port} not open after {timeout_s} s") from None
                time.sleep(0.01)

    def wait_line(self, needle: str, timeout_s: float = 15) -> str:
        """Returns the first line of the output that holds `needle`."""
        deadline = time.monotonic() + timeout_s
        while True:
            for line in self.log.splitlines():
                if needle in line:
                    return line
            self.check_alive()
            if time.monotonic() > deadline:
                raise self._failed(f"no {needle!r} after {timeout_s} s")
            time.sleep(0.01)

    def check_alive(self) -> None:
        code = self.popen.poll()
        if code is not None:
            raise self._failed(f"ended with {code}")

    def _failed(self, what: str) -> ServerFailed:
        """The exception to raise; the process is no longer needed."""
        self.kill()
        return ServerFailed(f"{' '.join(self.argv)}: {what}\n{self.log[-4000:]}")

    def stop(self, timeout_s: float = 5) -> int:
        """SIGTERM, then after `timeout_s` SIGKILL to its whole session; returns the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.popen.wait()

    def kill(self) -> None:
        """SIGKILL to the process and to what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


def run_tool(*argv: str, timeout_s: float = 60) -> bytes:
    """What a command says that must succeed. Without the sanitizer's runtime, which is meant for the gateway alone."""
    env = {**os.environ, "LD_PRELOAD": ""}
    return subprocess.run(argv, check=True, capture_output=True, timeout=timeout_s, env=env).stdout
