"""Where commands are tried: a folder with a config.yaml, with or without a gateway that runs on it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli import commands
from tests.servers.gateway import Gateway, merged
from tests.servers.ports import free_port

UPSTREAM = {"type": "chash", "key": "uri", "nodes": {"127.0.0.1:1": 1}}
SHOP: dict[str, Any] = {
    "routes": [{"id": "1", "uri": "/one", "upstream_id": "u"}],
    "upstreams": [{"id": "u", **UPSTREAM}],
    "consumers": [{"username": "anna", "plugins": {"key-auth": {"key": "a-secret-key"}}}],
}
FEWER = {**SHOP, "routes": [{"id": "1", "uri": "/two", "upstream_id": "u"}], "consumers": []}


class Workplace:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *args: str, input: str = "") -> subprocess.CompletedProcess[str]:
        done = commands.run([*args, "--config", "config.yaml"], self.folder, input)
        assert "Traceback" not in done.stderr
        return done

    def ok(self, *args: str, input: str = "") -> str:
        done = self.run(*args, input=input)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *args: str) -> Any:
        return json.loads(self.ok(*args, "--json"))

    def write(self, document: Any, name: str = "shop.yaml") -> str:
        (self.folder / name).write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        return name

    def exported(self, *args: str) -> Any:
        return json.loads(self.ok("export", "--format", "json", *args))

    def two_revisions(self) -> list[int]:
        """SHOP and then FEWER; their numbers."""
        for document in (SHOP, FEWER):
            self.ok("apply", self.write(document), "--yes")
        return [told["revision"] for told in reversed(self.json("history"))]


def settings(port: int, provider: str = "sqlite") -> dict[str, Any]:
    """A config.yaml with the Admin API at `port`."""
    admin = {"admin_listen": {"ip": "127.0.0.1", "port": port}}
    return {"deployment": {"role": "traditional", "role_traditional": {"config_provider": provider}, "admin": admin}}


def offline(folder: Path, **over: Any) -> Workplace:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(merged(settings(free_port()), over)))
    return Workplace(folder)


@pytest.fixture(params=["running", "offline"])
def workplace(request: pytest.FixtureRequest, gateway: Callable[..., Gateway], tmp_path: Path) -> Workplace:
    """Once with a gateway that runs, once without."""
    if request.param == "offline":
        return offline(tmp_path / "offline")
    return Workplace(gateway(config=settings(free_port())).directory)
