"""How exchanges end: the log phase comes once, whatever happened; a client that leaves cancels the hook."""

import time
from collections.abc import Callable

import pytest

from tests.engine.hooked import CONFIG, MARK, TROUBLE, plain, route, wait_log
from tests.servers.gateway import Gateway
from tests.servers.raw import RawClient
from tests.servers.switchboard import Switchboard

PLUGINS = (
    MARK
    + TROUBLE
    + """


class Stuck(Plugin):
    name = "stuck"
    priority = 100
    Config = Conf

    async def access(self, request):
        self.host.log.warning("stuck begins")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.host.log.warning("stuck was cancelled")
            raise
"""
)


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    address = board.address
    routes = [
        route("in-task", address, "in-task"),
        route("stuck", address, "stuck"),
        route("log", address, "fails", "log"),
    ]
    return module_gateway({"routes": routes}, CONFIG, files={"mine.py": PLUGINS}, expected=("Traceback",))


def test_a_client_that_leaves_cancels_the_hook(served: Gateway) -> None:
    for n, leave in enumerate((RawClient.close, RawClient.reset), 1):
        client = served.client()
        client.send(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_log(served, "stuck begins", n)
        leave(client)
        wait_log(served, "stuck was cancelled", n)
        wait_log(served, "mark log stuck", n)
    deadline = time.monotonic() + 5
    while served.access_log().count('"GET /stuck HTTP/1.1" 499') < 2:
        assert time.monotonic() < deadline, served.access_log()
        time.sleep(0.01)


def test_a_failing_log_hook_harms_nobody(served: Gateway, client: RawClient, board: Switchboard) -> None:
    plain(board, "/log")
    for n in (1, 2):
        assert client.request("GET", "/log").body == b"plain"
        wait_log(served, "failed on purpose: log\n", n)
        wait_log(served, "mark log log ", n)


def test_the_log_phase_runs_once_per_request(served: Gateway, client: RawClient, board: Switchboard) -> None:
    plain(board, "/in-task")
    before = served.log.count("mark log in-task ")
    for _ in range(10):
        assert client.request("GET", "/in-task").status == 200
    wait_log(served, "mark log in-task ", before + 10)
    assert served.log.count("mark log in-task ") == before + 10
