"""Hooks in their order: a chain goes on after each that waits, and ends with one that answers or fails."""

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


class Later(Plugin):
    name = "later"
    priority = 100
    Config = Conf

    async def rewrite(self, request):
        await asyncio.sleep(0.01)
        request.set_header("X-Later", "rewrite")

    async def access(self, request):
        await asyncio.sleep(0)
        request.add_header("X-Later", "access")
        if self.conf.mode == "answer":
            return Response(202, {"from": "later"})

    async def before_proxy(self, request):
        await asyncio.sleep(0.001)
        request.add_header("X-Later", "before_proxy")
"""
)


PHASES = ("rewrite", "access", "before_proxy", "header_filter", "async_rewrite", "async_access", "async_before_proxy")


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    address = board.address
    routes = [
        route("later", address, "later"),
        route("later-answer", address, "later", "answer"),
        route("in-task", address, "in-task"),
        *(route(phase, address, "fails", phase) for phase in PHASES),
    ]
    return module_gateway({"routes": routes}, CONFIG, files={"mine.py": PLUGINS}, expected=("Traceback",))


def test_a_chain_goes_on_after_each_suspension(client: RawClient, board: Switchboard) -> None:
    got = plain(board, "/later")
    for _ in range(3):
        assert client.request("POST", "/later", body=b"with a body").body == b"plain"
    assert len(got) == 3
    assert got[0].header_values("X-Later") == ["rewrite", "access", "before_proxy"]
    assert got[0].header("X-Marked") == "rewrite"
    assert got[0].body == b"with a body"


def test_pipelined_requests_wait_for_a_suspended_one(client: RawClient, board: Switchboard) -> None:
    got = plain(board, "/later")
    client.send(b"POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" * 20)
    for _ in range(20):
        assert client.read_response().body == b"plain"
    assert [message.body for message in got] == [b"ab"] * 20


def test_an_answer_after_a_suspension(client: RawClient, board: Switchboard) -> None:
    for _ in range(2):
        answer = client.request("POST", "/later-answer", body=b"x" * 5000)
        assert (answer.status, answer.json()) == (202, {"from": "later"})
    assert "/later-answer" not in board.hits


def test_needs_task(client: RawClient, board: Switchboard) -> None:
    got = plain(board, "/in-task")
    assert client.request("GET", "/in-task").status == 200
    assert got[0].header("X-Task") == "yes"


@pytest.mark.parametrize("phase", PHASES)
def test_a_failing_hook_is_500_and_logged(phase: str, served: Gateway, client: RawClient, board: Switchboard) -> None:
    plain(board, f"/{phase}")
    for n in (1, 2):
        assert client.request("GET", f"/{phase}").status == 500
        wait_log(served, f"failed on purpose: {phase}\n", n)
        wait_log(served, f"mark log {phase} ", n)
    if phase != "header_filter":
        assert f"/{phase}" not in board.hits
