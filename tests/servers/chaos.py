"""Chaos: load and writes while supervisor, workers, keeper and etcd are killed (kill -9) in random order.

Each route says its version in every answer. A request that begins after a write was acknowledged as served must meet
that version or a later one; and whatever was acknowledged is there in the end. The one excuse for a failed request: it
was in flight in a worker that was killed. (A killed supervisor's workers serve on, and what waits in sockets while none
is left is kept, so that is no excuse.)
"""

import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.servers.etcd import EtcdServer
from tests.servers.gateway import Gateway
from tests.servers.raw import Closed

KEY = "chaos"
ROUTES = 20
_TORN_S = 1.0  # until the kernel has torn a killed process down, on a busy machine
_ACCEPTED_S = 0.1  # so long after the kill it may have accepted still


@dataclass
class ChaosReport:
    """What happened. `failures`: requests that failed without an excuse; `falsehoods`: versions that were wrong."""

    requests: int = 0
    excused: int = 0
    failures: list[str] = field(default_factory=list)
    falsehoods: list[str] = field(default_factory=list)
    acknowledged: int = 0
    late: int = 0  # acknowledged as stored, while not every worker served it yet
    refused_writes: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)


@dataclass
class _Version:
    """Of one route. `served`: the highest that was acknowledged as served everywhere, `stored`: as stored; `tried`: the
    highest that was ever sent."""

    served: int = 0
    stored: int = 0
    tried: int = 0


def config(admin_port: int, etcd: EtcdServer | None) -> dict[str, Any]:
    listen = {"ip": "127.0.0.1", "port": admin_port}
    deployment: dict[str, Any] = {
        "role": "traditional",
        "role_traditional": {"config_provider": "etcd" if etcd else "sqlite"},
        "admin": {"admin_listen": listen, "admin_key": [{"key": KEY}]},
    }
    if etcd is not None:
        deployment["etcd"] = {"host": [etcd.url], "timeout": 3}
    return {"deployment": deployment}


def route(number: int, version: int) -> dict[str, Any]:
    """One that answers by itself."""
    return {
        "uri": f"/r/{number}",
        "plugins": {
            "mocking": {"response_status": 200, "response_example": "x", "response_headers": {"X-V": str(version)}}
        },
    }


class Chaos:
    def __init__(self, gateway: Gateway, admin_port: int, etcd: EtcdServer | None = None, *, seed: int = 1) -> None:
        self.gateway = gateway
        self.report = ChaosReport()
        self._admin_port = admin_port
        self._etcd = etcd
        self._random = random.Random(seed)
        self._versions = [_Version() for _ in range(ROUTES)]
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._kill_times: list[float] = []
        self._began = time.monotonic()

    def run(self, seconds: float, *, clients: int = 4, writers: int = 2, pause_s: float = 1.0) -> ChaosReport:
        """`pause_s`: between two kills, about."""
        for number in range(ROUTES):
            self._write(number)
        if any(version.served == 0 for version in self._versions):
            raise RuntimeError(f"the first writes failed: {self.report.refused_writes}")
        threads = [threading.Thread(target=self._ask_always, args=(n,), daemon=True) for n in range(clients)]
        threads += [threading.Thread(target=self._write_always, args=(n, writers), daemon=True) for n in range(writers)]
        self._began = time.monotonic()
        for thread in threads:
            thread.start()
        while time.monotonic() < self._began + seconds:
            self._kill_something()
            self._over.wait(pause_s * self._random.uniform(0.5, 1.5))
        self._over.set()
        for thread in threads:
            thread.join(60)
        self._check_end()
        return self.report

    # ---- kills

    def _kill_something(self) -> None:
        what = self._random.choice(["worker", "worker", "supervisor", "keeper", *(["etcd"] if self._etcd else [])])
        self.report.kills[what] += 1
        if what in ("worker", "keeper"):
            pids = self.gateway.worker_pids() if what == "worker" else self.gateway.keeper_pids()
            if pids:
                if what == "worker":
                    with self._lock:
                        self._kill_times.append(time.monotonic())
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._random.choice(pids), signal.SIGKILL)
        elif what == "supervisor":
            os.kill(self.gateway.process.pid, signal.SIGKILL)
            self.gateway.process.popen.wait(10)
            self.gateway.restart()
        elif self._etcd is not None:
            self._etcd.kill()
            self._over.wait(self._random.uniform(0, 1.5))
            self._etcd.restart()

    # ---- requests

    def _ask_always(self, seed: int) -> None:
        chosen = random.Random(seed)
        while not self._over.is_set():
            self._connection(chosen, kept=chosen.random() < 0.5)

    def _connection(self, chosen: random.Random, kept: bool) -> None:
        asked = 0
        began = time.monotonic()
        try:
            with self.gateway.client() as client:
                for _ in range(50 if kept else 1):
                    number = chosen.randrange(ROUTES)
                    began = time.monotonic()
                    least = self._versions[number].served
                    answer = client.request("GET", f"/r/{number}", [] if kept else [("Connection", "close")])
                    asked += 1
                    self._judge(number, least, answer.status, answer.header("x-v"), began)
                    if answer.header("connection") == "close" or self._over.is_set():
                        return
        except (OSError, Closed) as error:
            ended = time.monotonic()
            with self._lock:
                between = asked > 0 and not getattr(error, "received", b"") and not isinstance(error, TimeoutError)
                # A new connection is accepted by a living worker or waits: it has a killed one only for a moment.
                torn_s = _ACCEPTED_S if asked == 0 else _TORN_S
                refused = isinstance(error, ConnectionRefusedError)
                if not refused and any(began - torn_s <= kill <= ended for kill in self._kill_times):
                    self.report.excused += 1
                elif not between:  # a kept connection may end between two requests: clients ask again
                    self.report.failures.append(f"{began - self._began:.2f} s: request {asked + 1}: {error!r}")

    def _judge(self, number: int, least: int, status: int, version: str | None, began: float) -> None:
        most = self._versions[number].tried
        with self._lock:
            self.report.requests += 1
            if status != 200 or version is None or not least <= int(version) <= most:
                self.report.falsehoods.append(
                    f"{began - self._began:.2f} s: route {number}: status {status}, version {version}, "
                    f"and {least} was acknowledged, {most} sent"
                )

    # ---- writes

    def _write_always(self, first: int, step: int) -> None:
        """Each writer has routes of its own, so that versions of a route are written one after the other."""
        number = first
        while not self._over.is_set():
            if not self._write(number):
                self._over.wait(0.05)
            number = number + step if number + step < ROUTES else first

    def _write(self, number: int) -> bool:
        state = self._versions[number]
        state.tried += 1
        version = state.tried
        connection = http.client.HTTPConnection("127.0.0.1", self._admin_port, timeout=10)
        try:
            connection.request(
                "PUT", f"/apisix/admin/routes/{number}", json.dumps(route(number, version)), {"X-API-KEY": KEY}
            )
            answer = connection.getresponse()
            told = answer.read()
            applied = answer.getheader("X-Bascule-Applied") is None
        except (OSError, http.client.HTTPException) as error:
            with self._lock:
                self.report.refused_writes[type(error).__name__] += 1
            return False
        finally:
            connection.close()
        with self._lock:
            if answer.status not in (200, 201):
                self.report.refused_writes[f"{answer.status} {told[:60].decode(errors='replace')}"] += 1
                return False
            self.report.acknowledged += 1
            state.stored = version
            if applied:
                state.served = version
            else:
                self.report.late += 1
        return True

    # ---- the end

    def _check_end(self) -> None:
        """Whatever was acknowledged is in the store, and served."""
        deadline = time.monotonic() + 30
        for number, state in enumerate(self._versions):
            while True:
                found = self._served(number)
                if found is not None and state.stored <= found <= state.tried:
                    break
                if time.monotonic() > deadline:
                    self.report.falsehoods.append(
                        f"in the end route {number} is served at version {found}, {state.stored} was acknowledged"
                    )
                    break
                time.sleep(0.1)

    def _served(self, number: int) -> int | None:
        try:
            with self.gateway.client() as client:
                version = client.request("GET", f"/r/{number}", [("Connection", "close")]).header("x-v")
        except (TimeoutError, OSError, Closed):
            return None
        return None if version is None else int(version)
