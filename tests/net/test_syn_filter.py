"""A listening socket on its way out: who has connected is served, nobody else gets in."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bascule.net.syn_filter import let_in, turn_away


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.create_server(
        (request.param, 0), family=socket.AF_INET6 if ":" in request.param else socket.AF_INET, backlog=64
    ) as sock:
        yield sock


def test_who_is_in_the_queue_is_served_and_new_ones_stay_out(listener: socket.socket) -> None:
    address = listener.getsockname()[:2]
    with contextlib.ExitStack() as stack:
        early = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in range(20)]
        turn_away(listener.fileno())
        turn_away(listener.fileno())  # again is no harm
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.3)
        for client in early:
            client.sendall(b"ping")
        listener.setblocking(False)
        served = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted = stack.enter_context(listener.accept()[0])
                accepted.settimeout(5)
                assert accepted.recv(4) == b"ping"
                accepted.sendall(b"pong")
                served += 1
        assert served == len(early)
        for client in early:
            assert client.recv(4) == b"pong"
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)


def test_another_process_s_copy_is_the_same_socket(listener: socket.socket) -> None:
    copy = os.dup(listener.fileno())
    try:
        turn_away(copy)
    finally:
        os.close(copy)
    with pytest.raises(TimeoutError):
        socket.create_connection(listener.getsockname()[:2], timeout=0.3)


def test_whoever_goes_on_lets_them_in_again(listener: socket.socket) -> None:
    let_in(listener.fileno())  # nothing is in the way: no harm
    turn_away(listener.fileno())
    let_in(listener.fileno())
    socket.create_connection(listener.getsockname()[:2], timeout=5).close()


def test_a_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        turn_away(listener.fileno())
        let_in(listener.fileno())
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
