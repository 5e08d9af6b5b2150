"""A soak: steady load while the configuration is replaced again and again and workers are killed at random.

The one excuse for a failed request: it was in flight in a worker that was killed.
"""

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.servers.gateway import Gateway
from tests.servers.process import ServerFailed

REQUEST = b"GET /soak/%d HTTP/1.1\r\nHost: a.example\r\n\r\n"


@dataclass
class SoakReport:
    """What happened: answers by status, failures with their times, reloads made, workers killed."""

    statuses: Counter[int] = field(default_factory=Counter)
    excused: int = 0
    failures: list[str] = field(default_factory=list)
    reloads: int = 0
    kills: int = 0
    versions_seen: int = 0

    @property
    def requests(self) -> int:
        return self.statuses.total()


def resources(upstream_address: str, version: int) -> dict[str, Any]:
    """A configuration that says its version in a header of every answer; routes come and go around the one asked."""
    soak = {
        "id": "soak",
        "uri": "/soak/*",
        "upstream_id": "pool",
        "plugins": {"response-rewrite": {"headers": {"set": {"X-Version": str(version)}}}},
    }
    others = [
        {"id": f"other{number}", "uri": f"/other/{number}/*", "upstream_id": "pool"} for number in range(version % 20)
    ]
    return {"upstreams": [{"id": "pool", "nodes": {upstream_address: 1}}], "routes": [soak, *others]}


class _Client(threading.Thread):
    """One keep-alive connection after another, each used for up to 200 requests."""

    def __init__(self, soak: "Soak", number: int):
        super().__init__(name=f"soak-client-{number}", daemon=True)
        self.soak = soak
        self.random = random.Random(number)

    def run(self) -> None:
        while not self.soak.over.is_set():
            self._connection(self.random.randrange(1, 200))

    def _connection(self, requests: int) -> None:
        report, soak = self.soak.report, self.soak
        begun = time.monotonic()
        sock: socket.socket | None = None
        served = 0
        try:
            # A gateway that stops lets SYNs wait for a moment before it refuses.
            sock = socket.create_connection(("127.0.0.1", soak.gateway.port), timeout=10)
            for number in range(requests):
                if soak.over.is_set():
                    return
                begun = time.monotonic()
                sock.sendall(REQUEST % number)
                status, version, closes = _answer(sock)
                served += 1
                with soak.lock:
                    report.statuses[status] += 1
                    report.versions_seen = max(report.versions_seen, version)
                    if status != 200:
                        report.failures.append(f"{begun - soak.started:.3f} s: status {status}")
                if closes:
                    return
        except (OSError, EOFError) as failure:
            # The kernel tells a client of its peer's death once it has torn the process down; a second covers a busy
            # machine.
            ended = time.monotonic()
            with soak.lock:
                if sock is None and soak.stopping:
                    soak.over.set()
                elif any(begun - 1 <= kill <= ended for kill in soak.kill_times):
                    report.excused += 1
                else:
                    report.failures.append(
                        f"{begun - soak.started:.3f} s: {failure!r} after {ended - begun:.3f} s, request {served + 1}"
                    )
        finally:
            if sock:
                sock.close()


def _answer(sock: socket.socket) -> tuple[int, int, bool]:
    """Status, X-Version and whether the connection closes, of one response with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise EOFError("closed before the answer")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = {
        name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    length = int(fields[b"content-length"])
    while len(body) < length:
        more = sock.recv(65536)
        if not more:
            raise EOFError("closed inside the answer")
        body += more
    return int(head[9:12]), int(fields.get(b"x-version", b"0")), fields.get(b"connection", b"").lower() == b"close"


class Soak:
    """Runs against a started `gateway` whose configuration is `resources(upstream_address, 1)`."""

    def __init__(self, gateway: Gateway, upstream_address: str, *, seed: int = 1):
        self.gateway = gateway
        self.upstream_address = upstream_address
        self.random = random.Random(seed)
        self.report = SoakReport()
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.stopping = False  # refused connections are no failures
        self.kill_times: list[float] = []
        self.started = time.monotonic()

    def _kill_a_worker(self) -> None:
        pids = self.gateway.worker_pids()
        if not pids:
            return
        # Before the signal: a client may see its effect before this thread runs again.
        with self.lock:
            self.kill_times.append(time.monotonic())
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.random.choice(pids), signal.SIGKILL)
            self.report.kills += 1

    def run_replacements(self, times: int, *, clients: int = 16) -> SoakReport:
        """SIGHUP with another setting, `times` times, and then the end of the gateway, all under load."""
        threads = [_Client(self, number) for number in range(clients)]
        self.started = time.monotonic()
        for thread in threads:
            thread.start()
        for number in range(times):
            before = set(self.gateway.worker_pids())
            self.gateway.configure({"nginx_config": {"http": {"client_header_timeout": f"{100 + number}s"}}})
            os.kill(self.gateway.process.pid, signal.SIGHUP)
            deadline = time.monotonic() + 30
            while not (now := set(self.gateway.worker_pids())) or now & before:
                if time.monotonic() > deadline:
                    raise ServerFailed(f"workers {before} are still there\n{self.gateway.log[-4000:]}")
                time.sleep(0.02)
            self.report.reloads += 1
        self.stopping = True
        self.gateway.stop()
        for thread in threads:
            thread.join(30)
            if thread.is_alive():
                raise ServerFailed(f"{thread.name} hangs")
        return self.report

    def run(
        self, seconds: float, *, clients: int = 16, reload_every_s: float = 0.1, kill_every_s: float = 5.0
    ) -> SoakReport:
        threads = [_Client(self, number) for number in range(clients)]
        self.started = time.monotonic()
        for thread in threads:
            thread.start()
        end = self.started + seconds
        # No kill in the last seconds, so that its successor is seen to serve.
        next_kill = self.started + kill_every_s * self.random.uniform(0.5, 1)
        version = 1
        while (now := time.monotonic()) < end:
            version += 1
            self.gateway.write(resources(self.upstream_address, version))
            self.report.reloads += 1
            if now >= next_kill and now < end - 2:
                self._kill_a_worker()
                next_kill = now + kill_every_s * self.random.uniform(0.5, 1.5)
            self.over.wait(max(0.0, reload_every_s - (time.monotonic() - now)))
        self.over.set()
        for thread in threads:
            thread.join(30)
            if thread.is_alive():
                raise ServerFailed(f"{thread.name} hangs\n{self.gateway.log[-4000:]}")
        self.gateway.process.check_alive()
        return self.report
