import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bascule.control import keeper_process
from bascule.control.handover import HandoverFailed, Offer, Taker, send_offer
from bascule.control.keeper_process import ALL, Message, follow, hand_on, let_go


class Running(threading.Thread):
    """Some part of it, in this process."""

    def __init__(self, part: Callable[..., Any], *arguments: Any) -> None:
        super().__init__(daemon=True)
        self.part, self.arguments = part, arguments
        self.result: Any = None
        self.start()

    def run(self) -> None:
        self.result = self.part(*self.arguments)

    def end(self) -> Any:
        self.join(20)
        assert not self.is_alive()
        return self.result


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(10)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where takers ask."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(f"\0bascule-keeper-{os.getpid()}")
        sock.listen(16)
        yield sock


def offer(*servers: socket.socket) -> Offer:
    return Offer({"from": "test"}, [({"port": server.getsockname()[1]}, server.fileno()) for server in servers])


def held(server: socket.socket) -> list[Message]:
    """As after being told."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        send_offer(ours, offer(server))
        return [keeper_process.receive(theirs), keeper_process.receive(theirs)]


def test_what_was_told_last_and_whole_is_held(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    supervisor = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pidfd = os.pidfd_open(supervisor.pid)
    following = Running(follow, theirs, pidfd)
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        for one in (first, second):
            send_offer(ours, offer(one))
            ours.sendall(ALL)
            assert ours.recv(64) == b"kept"
        send_offer(ours, offer(first))  # the last word is missing
        port = first.getsockname()[1]
        first.close()
        supervisor.kill()
        supervisor.wait(10)
        messages: list[Message] = following.end()
        os.close(pidfd)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        ((_, no_fds), (_, fds)) = messages
        assert no_fds == b""
        (fd,) = [int.from_bytes(fds[at : at + 4], sys.byteorder) for at in range(0, len(fds), 4)]
        with socket.socket(fileno=os.dup(fd)) as copy:
            assert copy.getsockname() == second.getsockname()
    let_go(messages)


def test_it_gives_until_somebody_serves(listener: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        messages = held(server)
    name = listener.getsockname()
    address = name.decode() if isinstance(name, bytes) else name
    giving = Running(hand_on, listener, messages, 60)
    with pytest.raises(HandoverFailed, match="hung up"):
        Taker(address, b"nonsense")
    for serves in (False, True):
        taker = Taker(address)
        taker.wait_released()
        ((what, fd),) = taker.offer.sockets
        with socket.socket(fileno=fd) as copy:
            assert what == {"port": copy.getsockname()[1]}
        if serves:
            taker.ready()
        else:
            taker.close()
    giving.end()
    let_go(messages)


def test_when_nobody_comes_it_is_over(listener: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        messages = held(server)
    Running(hand_on, listener, messages, 0.05).end()
    let_go(messages)


def test_whose_child_it_is_not_it_does_not_serve(pair: tuple[socket.socket, socket.socket]) -> None:
    """Its supervisor died before it looked."""
    _, theirs = pair
    arguments = [str(theirs.fileno()), f"bascule-keeper-not-{os.getpid()}", "1", "60"]
    script = str(Path(keeper_process.__file__))
    done = subprocess.run(
        [sys.executable, "-I", "-S", script, *arguments], pass_fds=(theirs.fileno(),), timeout=30, check=False
    )
    assert done.returncode == 0


def test_it_leaves_signals_to_its_supervisor() -> None:
    """Checked in a process of its own, since it changes what signals do."""
    code = (
        "import os, signal, sys\n"
        "from bascule.control import keeper_process\n"
        "sys.argv = ['keeper', '0', 'x', str(os.getpid()), '1']\n"
        "keeper_process.main()\n"
        "print(*[signal.getsignal(n) is signal.SIG_IGN for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["True"] * 3
