"""The short form of `python -m bench.soak`: no failed request besides those in flight in a killed worker. And none at
all while workers are replaced, nor at the end."""

from collections.abc import Callable

from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.soak import Soak, resources

REPLACEMENTS = 5


def test_reloads_and_killed_workers_fail_no_request(
    nginx: Callable[[str], Nginx], gateway: Callable[..., Gateway]
) -> None:
    upstream = nginx("location / { return 200 'ok'; }")
    server = gateway(resources(upstream.address, 1), workers=2)
    report = Soak(server, upstream.address).run(8, clients=4, kill_every_s=2.0)
    assert report.failures == []
    assert report.kills >= 2
    assert set(report.statuses) == {200}
    assert report.versions_seen > 2
    assert server.stop() == 0


def test_replaced_workers_and_the_end_fail_no_request(
    nginx: Callable[[str], Nginx], gateway: Callable[..., Gateway]
) -> None:
    upstream = nginx("location / { return 200 'ok'; }")
    server = gateway(resources(upstream.address, 1), workers=2)
    report = Soak(server, upstream.address).run_replacements(REPLACEMENTS, clients=8)
    assert report.failures == []
    assert report.reloads == REPLACEMENTS
    assert set(report.statuses) == {200}
    assert report.requests > 100 * REPLACEMENTS
