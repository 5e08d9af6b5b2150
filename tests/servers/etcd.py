"""A member of etcd, alone in its cluster."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

from tests.servers.certificates import Certificates
from tests.servers.ports import free_port
from tests.servers.process import ServerFailed, ServerProcess


class EtcdServer:
    """`tls`: serves by its certificate; `client_auth`: asks clients for one. `password`: of the user root, once
    `enable_auth` was called. `options`: of the command line, without dashes."""

    def __init__(
        self,
        directory: Path,
        *,
        tls: Certificates | None = None,
        client_auth: bool = False,
        options: dict[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.data = directory / "data"
        self._directory = directory
        self._tls = tls
        self._token: str | None = None
        peer = f"http://127.0.0.1:{free_port()}"
        arguments = {
            "name": "one",
            "data-dir": str(self.data),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"one={peer}",
            "logger": "zap",
            # Tests don't pull the plug: no waiting for the disk is needed, and elections of one are short.
            "heartbeat-interval": "20",
            "election-timeout": "100",
            **(options or {}),
        }
        if tls is not None:
            arguments |= {"cert-file": str(tls.server.cert), "key-file": str(tls.server.key)}
        if client_auth:
            assert tls is not None
            arguments |= {"trusted-ca-file": str(tls.ca.cert), "client-cert-auth": "true"}
        self._argv = ["etcd", *(f"--{name}={value}" for name, value in arguments.items())]
        self._start()

    def _start(self) -> None:
        self.process = ServerProcess(self._argv, self._directory / "output.log", cwd=self._directory)
        self.process.wait_connectable(self.port)
        deadline = time.monotonic() + 15
        while True:
            try:
                self.call("/v3/maintenance/status", {})
                return
            except (OSError, ServerFailed) as error:
                self.process.check_alive()
                if time.monotonic() > deadline:
                    raise ServerFailed(f"etcd doesn't answer: {error}\n{self.process.log[-4000:]}") from error
                time.sleep(0.01)

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        """On the same port, with the same data."""
        self.process.stop()
        self._start()

    # ---- as another client would

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Raises ServerFailed: etcd refused it."""
        headers = {"Authorization": self._token} if self._token else {}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._context()) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise ServerFailed(error.read().decode()) from error
        return answer

    def _context(self) -> ssl.SSLContext | None:
        if self._tls is None:
            return None
        context = ssl.create_default_context(cafile=str(self._tls.ca.cert))
        context.load_cert_chain(self._tls.client.cert, self._tls.client.key)
        return context

    def put(self, key: str, value: str) -> int:
        """The revision."""
        return int(self.call("/v3/kv/put", {"key": _text(key), "value": _text(value)})["header"]["revision"])

    def delete(self, key: str) -> None:
        self.call("/v3/kv/deleterange", {"key": _text(key)})

    def compact(self, revision: int | None = None) -> None:
        """Up to the present, if no revision is given."""
        latest = self.call("/v3/kv/range", {"key": _text("-")})["header"]["revision"]
        self.call("/v3/kv/compaction", {"revision": str(revision or latest), "physical": True})

    def ctl(self, *arguments: str) -> str:
        """etcdctl's output."""
        done = subprocess.run(
            ["etcdctl", f"--endpoints={self.url}", *arguments],
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        return done.stdout

    def enable_auth(self, root_password: str, users: dict[str, tuple[str, str]]) -> None:
        """`users`: name -> (password, prefix of the keys that it may read and write)."""
        self.call("/v3/auth/user/add", {"name": "root", "password": root_password})
        self.call("/v3/auth/role/add", {"name": "root"})
        self.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
        for name, (password, prefix) in users.items():
            self.call("/v3/auth/user/add", {"name": name, "password": password})
            self.call("/v3/auth/role/add", {"name": name})
            end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
            permission = {"permType": "READWRITE", "key": _text(prefix), "range_end": _text(end)}
            self.call("/v3/auth/role/grant", {"name": name, "perm": permission})
            self.call("/v3/auth/user/grant", {"user": name, "role": name})
        self.call("/v3/auth/enable", {})
        self._token = self.call("/v3/auth/authenticate", {"name": "root", "password": root_password})["token"]


def _text(data: str) -> str:
    return b64encode(data.encode()).decode()
