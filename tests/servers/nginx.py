"""nginx as an upstream, or as the reference that a behaviour is compared with."""

import shutil
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess

_CONF = """
daemon off; user root; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off; default_type text/plain; keepalive_requests 1000000; keepalive_timeout 60s;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    {http}
}}
"""


class Nginx:
    """One nginx. `conf_body` is the inside of one `server` block or, when it has `server` blocks itself, of `http`.

    `$PORT` in it stands for the free port that `port` tells; a lone server block's listen line is written here.
    """

    def __init__(self, conf_body: str, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        if "server {" not in conf_body:
            conf_body = f"server {{ listen 127.0.0.1:$PORT backlog=1024; {conf_body} }}"
        conf = directory / "nginx.conf"
        conf.write_text(_CONF.format(dir=directory, http=conf_body.replace("$PORT", str(self.port))))
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = ServerProcess([binary, "-p", str(directory), "-c", str(conf)], directory / "output.log")
        self.process.wait_connectable(self.port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """host:port, as an upstream's `nodes` names it."""
        return f"127.0.0.1:{self.port}"

    def pids(self) -> list[int]:
        """Master and worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]

    def stop(self) -> None:
        self.process.stop()
