"""Listeners with TLS while the gateway changes: new addresses by SIGHUP, and its end."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import RawUpstream
from tests.servers.tls import connect


def listening(*ports: int) -> dict[str, Any]:
    return {"apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": port} for port in ports]}}}


def test_other_addresses_and_the_end(tmp_path: Path) -> None:
    upstream, old, new = RawUpstream(), free_port(), free_port()
    pair = Certificates(tmp_path).issue("a", ("a.test",)).texts
    gateway = Gateway(
        tmp_path / "gateway",
        {
            "routes": [{"uri": "/*", "upstream": {"nodes": {upstream.address: 1}}}],
            "ssls": [{"sni": "a.test", **pair}],
        },
        listening(old),
    )
    try:
        with connect(old, "a.test") as before:
            assert before.get("a.test") == 200
            # A request that has begun is answered by the worker that drains.
            before.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello")
            gateway.configure(listening(new))
            gateway.process.popen.send_signal(signal.SIGHUP)
            gateway.process.wait_line("listening on", timeout_s=30)
            before.send(b"world")
            assert before.read_response().status == 200
        with connect(new, "a.test") as client:
            assert client.get("a.test") == 200
            client.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello")
            gateway.process.popen.send_signal(signal.SIGTERM)
            gateway.process.wait_line("stopping: draining", timeout_s=30)
            client.send(b"world")
            answer = client.read_response()
            assert answer.status == 200
            assert client.is_closed()
        with pytest.raises(ConnectionRefusedError):
            connect(old, "a.test")
        deadline = time.monotonic() + 20
        while gateway.process.popen.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        gateway.stop()
        upstream.stop()
