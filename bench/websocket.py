"""The scenario of WebSockets: echoed messages per CPU-second of the gateway, as a tunnel and with frames looked at."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.cpu import cpu_s
from bench.load import LoadFailed, Sample
from bench.pairs import compared, rounds
from bench.peers import Peer, start_bascule
from bench.speed import CONNECTIONS, GATEWAY_CPUS, LOAD_CPUS, Bench
from tests.servers.ports import free_port
from tests.servers.process import ServerProcess

ROOT = Path(__file__).parent.parent
LIMIT = {"max_message_size": 65536, "messages_per_second": 1_000_000}

_NGINX = """
daemon off; user root; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_read_timeout 600s;
            proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade"; proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


def _tool(*words: object) -> list[str]:
    return ["taskset", "-c", LOAD_CPUS, sys.executable, "-m", "bench.websocket_load", *map(str, words)]


def _nginx(upstream: int, directory: Path) -> Peer:
    port = free_port()
    conf = directory / "nginx.conf"
    conf.write_text(_NGINX.format(dir=directory, port=port, upstream=upstream))
    argv = ["taskset", "-c", GATEWAY_CPUS, "/usr/sbin/nginx", "-p", str(directory), "-c", str(conf)]
    process = ServerProcess(argv, directory / "output.log")
    process.wait_connectable(port)
    return Peer("nginx", port, process)


def _bascule(name: str, upstream: int, directory: Path, plugins: dict[str, Any]) -> Peer:
    route: dict[str, Any] = {"id": "ws", "uri": "/*", "enable_websocket": True}
    route["upstream"] = {"nodes": {f"127.0.0.1:{upstream}": 1}}
    if plugins:
        route["plugins"] = plugins
    return start_bascule(name, {"routes": [route]}, directory, GATEWAY_CPUS)


def _measure(peer: Peer, seconds: float) -> Sample:
    before = cpu_s(peer.pid)
    said = subprocess.run(
        _tool("load", peer.port, CONNECTIONS, seconds), capture_output=True, text=True, timeout=seconds + 60, cwd=ROOT
    )
    if said.returncode:
        raise LoadFailed(f"{peer.name}: {said.stderr.strip().splitlines()[-1]}")
    messages, wall_s = said.stdout.split()
    return Sample(int(messages), cpu_s(peer.pid) - before, float(wall_s), 0.0)


def websocket(bench: Bench) -> dict[str, Any]:
    """Echo of 128-byte messages over 64 WebSockets: nginx, Bascule, and Bascule with websocket-limit."""
    with ExitStack() as stack:
        upstream = free_port()
        server = ServerProcess(_tool("echo", upstream), bench.folder("websocket/upstream") / "output.log", cwd=ROOT)
        stack.callback(server.stop)
        server.wait_connectable(upstream)
        contenders = [
            ("nginx", _nginx(upstream, bench.folder("websocket/nginx"))),
            ("bascule", _bascule("bascule", upstream, bench.folder("websocket/tunnel"), {})),
            ("bascule + frames", _bascule("frames", upstream, bench.folder("websocket/b"), {"websocket-limit": LIMIT})),
        ]
        for _, peer in contenders:
            stack.callback(peer.stop)
            _measure(peer, 1)

        def measure(_: str, peer: Peer) -> Sample:
            return _measure(peer, bench.seconds)

        peers = compared(rounds(contenders, bench.rounds, measure, bench.say), "nginx")
        return {"kind": "speed", "reference": "nginx", "peers": peers}
