"""A process that holds listening sockets for the supervisor, and outlives it if that is killed.

It is run as a file, `python -I -S keeper_process.py DESCRIPTOR NAME SUPERVISOR SECONDS`, not as part of the package: so
it starts within milliseconds and stays small, and what it imports is what a bare interpreter has at hand.

The supervisor sends what to hold on a socket pair (DESCRIPTOR), in the messages of a hand-over (handover.py), which are
kept as they come, with a last one, "that is all". Nothing is ever accepted here; but as long as somebody holds a
socket, the connections that wait in its queue aren't reset, and new ones still join them. Once the supervisor is gone,
whoever starts next with the same configuration is given all of it, as if by an older gateway; then the keeper ends. It
ends, too, when nobody came for SECONDS. A supervisor that stops in good order ends it before.
"""

import os
import select
import signal
import sys
import time
from _socket import (  # the module socket would add the imports of enum and selectors
    AF_UNIX,
    CMSG_SPACE,
    SCM_RIGHTS,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
)

MESSAGE_BYTES = 1 << 20
FDS = 253  # the kernel passes no more at once
ANSWER_S = 5.0
ALL = b"that is all"

Message = tuple[bytes, bytes]  # text, descriptors as the kernel takes and gives them: C ints


def receive(channel: socket) -> Message:
    """Empty at the end."""
    text, ancillary, _, _ = channel.recvmsg(MESSAGE_BYTES, CMSG_SPACE(FDS * 4))
    fds = b"".join(data for level, kind, data in ancillary if (level, kind) == (SOL_SOCKET, SCM_RIGHTS))
    return text, fds[: len(fds) - len(fds) % 4]


def let_go(messages: list[Message]) -> None:
    for _, fds in messages:
        for at in range(0, len(fds), 4):
            os.close(int.from_bytes(fds[at : at + 4], sys.byteorder))


def follow(channel: socket, supervisor: int) -> list[Message]:
    """What to hold, as told last and whole, once the supervisor (a pidfd) is gone."""
    held: list[Message] = []
    coming: list[Message] = []
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    poll.register(supervisor, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if channel.fileno() in ready:
            message = receive(channel)
            if message[0] == ALL:
                let_go(held)
                held, coming = coming, []
                try:
                    channel.send(b"kept")
                except OSError:  # it died just now
                    continue
            elif message[0]:
                coming.append(message)
            else:
                poll.unregister(channel.fileno())
        elif supervisor in ready:  # and nothing is left that it sent
            let_go(coming)
            return held


def hand_on(listener: socket, held: list[Message], limit_s: float) -> None:
    """Until somebody has taken over, or the time is up. Whoever takes has all the time that its start needs."""
    deadline = time.monotonic() + limit_s
    while True:
        listener.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            fd, _ = listener._accept()  # type: ignore[attr-defined]  # (what socket.accept is made of)
        except TimeoutError:
            return
        taker = socket(fileno=fd)
        try:
            if give(taker, held):
                return
        except OSError:
            pass  # it ended, or doesn't talk as it should
        finally:
            taker.close()


def give(taker: socket, held: list[Message]) -> bool:
    """Whether it serves now. Raises OSError."""
    uid = int.from_bytes(taker.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)[4:8], sys.byteorder)
    if uid not in (0, os.getuid()):
        return False
    taker.settimeout(ANSWER_S)
    taker.sendall(b"hello")
    if taker.recv(64) != b"give":
        return False
    for text, fds in held:
        taker.sendmsg([text], [(SOL_SOCKET, SCM_RIGHTS, fds)] if fds else [])
    taker.sendall(b"released")
    taker.settimeout(None)
    return taker.recv(64) == b"ready"


def main() -> None:
    descriptor, name, pid, limit_s = sys.argv[1:]
    # What a terminal or a service manager sends to the whole group is the supervisor's to act on.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    supervisor = os.pidfd_open(int(pid))
    if os.getppid() != int(pid):
        return
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    listener.bind(f"\0{name}-{pid}-{os.getpid()}")
    listener.listen(16)  # who asks too early waits
    held = follow(socket(fileno=int(descriptor)), supervisor)
    if held:
        hand_on(listener, held, float(limit_s))


if __name__ == "__main__":
    main()
