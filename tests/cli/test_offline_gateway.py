from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from bascule.cli.gateway_client import Change, GatewayRefused, PlanOutdated
from bascule.cli.offline_gateway import OfflineGateway
from bascule.cli.settings_file import read_settings
from tests.cli.workplace import SHOP, Workplace, offline, settings
from tests.servers.gateway import Gateway, merged
from tests.servers.ports import free_port


@contextmanager
def opened(folder: Path, create: bool = True, provider: str = "sqlite") -> Iterator[OfflineGateway]:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings(free_port(), provider)))
    gateway = OfflineGateway(read_settings(path, {}), create=create)
    try:
        yield gateway
    finally:
        gateway.close()


def test_a_store_is_made_only_where_something_is_put(tmp_path: Path) -> None:
    with pytest.raises(GatewayRefused, match="there is no store at"), opened(tmp_path, create=False):
        pass
    assert not (tmp_path / "data").exists()
    with opened(tmp_path) as gateway:
        gateway.apply(Change(SHOP, True), gateway.apply(Change(SHOP, True), None)["plan_id"])
    with opened(tmp_path, create=False) as gateway:
        assert gateway.export(revision=None, times=False, hide_secrets=False) == SHOP
        with pytest.raises(PlanOutdated):
            gateway.apply(Change({}, True), "another")
        with pytest.raises(GatewayRefused) as caught:
            gateway.apply(Change({"routes": [{"id": "1"}, 1]}, True), None)
        assert caught.value.errors[0] == "$.routes[1]: must be an object"


def test_a_gateway_with_a_file(tmp_path: Path) -> None:
    with opened(tmp_path, provider="yaml") as gateway:
        gateway.apply(Change(SHOP, True), gateway.apply(Change(SHOP, True), None)["plan_id"])
        assert yaml.safe_load((tmp_path / "apisix.yaml").read_text()) == SHOP
        with pytest.raises(GatewayRefused, match="keeps no history"):
            gateway.history(limit=1, before=None, prefix="")


def test_a_store_that_a_gateway_uses_is_left_alone(gateway: Callable[..., Gateway]) -> None:
    server = gateway(config=merged(settings(free_port()), {"apisix": {"enable_admin": False}}))
    done = Workplace(server.directory).run("export")
    assert done.returncode == 1
    assert f"in use by process {server.process.pid}: only one Bascule may write to it" in done.stderr


def test_a_folder_that_can_not_be_used(tmp_path: Path) -> None:
    place = offline(tmp_path / "p")
    (tmp_path / "p" / "data").write_text("a file")
    file = place.write(SHOP)
    done: Any = place.run("apply", file, "--yes")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
