import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from bascule.cli.gateway_client import Change, GatewayRefused, PlanOutdated
from bascule.cli.http_gateway import HttpGateway, NothingListens
from bascule.cli.settings_file import Configured, read_settings
from tests.cli.workplace import SHOP, settings
from tests.servers.gateway import Gateway, merged
from tests.servers.ports import free_port


def configured(folder: Path, port: int, **over: object) -> Configured:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(merged(settings(port), over)))
    return read_settings(path, {})


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """A server that isn't Bascule; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(NothingListens):
        HttpGateway(configured(tmp_path, free_port()))


def test_somebody_else_is_there(tmp_path: Path) -> None:
    refused = pytest.raises(GatewayRefused, match="answers 200 with what is no JSON: is that a Bascule")
    with answering(200, b"<html>") as port, refused:
        HttpGateway(configured(tmp_path, port))


def test_a_key_that_is_refused(gateway: Callable[..., Gateway], tmp_path: Path) -> None:
    port = free_port()
    gateway(config=merged(settings(port), {"deployment": {"admin": {"admin_key": [{"name": "a", "key": "right"}]}}}))
    for key, why in (("wrong", "wrong apikey"), ("", "missing apikey")):
        admin = {"admin": {"admin_key": [{"name": "a", "key": key}]}}
        with pytest.raises(GatewayRefused) as caught:
            HttpGateway(configured(tmp_path, port, deployment=admin)).history(limit=1, before=None, prefix="")
        assert str(caught.value).startswith(f"the Admin API at 127.0.0.1:{port} refuses the key")
        assert why in str(caught.value)


def test_a_plan_that_has_changed_meanwhile(gateway: Callable[..., Gateway]) -> None:
    port = free_port()
    server = gateway(config=settings(port))
    client = HttpGateway(read_settings(server.directory / "config.yaml", {}))
    plan = client.apply(Change(SHOP, True), None)
    upstreams = {"upstreams": [{"id": "v", "nodes": {"127.0.0.1:1": 1}}]}
    client.apply(Change(upstreams, False), client.apply(Change(upstreams, False), None)["plan_id"])
    with pytest.raises(PlanOutdated) as caught:
        client.apply(Change(SHOP, True), plan["plan_id"])
    assert caught.value.now["delete"] == 1
    assert client.apply(Change(SHOP, True), caught.value.now["plan_id"])["revision"] > 0
