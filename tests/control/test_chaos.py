"""The short form of `python -m bench.chaos`: nothing acknowledged is lost, no wrong version served, no request failed
besides those in flight in a killed worker."""

from collections.abc import Callable

import pytest

from tests.servers.chaos import Chaos, config
from tests.servers.etcd import EtcdServer
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port


@pytest.mark.parametrize("store", ["sqlite", "etcd"])
@pytest.mark.timeout(120)
def test_kills_in_random_order(
    gateway: Callable[..., Gateway], etcd_server: Callable[..., EtcdServer], store: str
) -> None:
    etcd = etcd_server() if store == "etcd" else None
    port = free_port()
    server = gateway(config=config(port, etcd), workers=2)
    report = Chaos(server, port, etcd).run(10, clients=3)
    assert report.failures == []
    assert report.falsehoods == []
    assert report.kills.total() >= 4
    assert report.acknowledged > 20
    assert report.requests > 100
