"""A listening socket that is about to close takes no new connections, yet loses none that has begun.

Closing it resets what waits in its queue and what is still within its handshake. So first a packet filter drops every
SYN: clients try again a second later and find whoever listens then, or nobody. What has begun arrives and can be
accepted; after a moment the queue is empty for good. Accepted connections inherit the filter; it never concerns them.
"""

import contextlib
import ctypes
import socket

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # linux/asm-generic/socket.h; the socket module has no names for them
_FLAGS_OFFSET, _SYN = 13, 0x02  # of the TCP header, where a TCP socket's filter begins to look


class _Instruction(ctypes.Structure):
    """struct sock_filter."""

    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


_INSTRUCTIONS = (_Instruction * 4)(
    _Instruction(0x30, 0, 0, _FLAGS_OFFSET),  # load that byte
    _Instruction(0x45, 0, 1, _SYN),  # any of these bits set?
    _Instruction(0x06, 0, 0, 0),  # yes: drop it
    _Instruction(0x06, 0, 0, 0xFFFFFFFF),  # no: let it in
)


def turn_away(fd: int) -> None:
    """From now on connections can't begin at this listening TCP socket, in whatever process it is open. Unix sockets
    are left alone: they have a path to take away. So are those of UDP: nothing waits there."""
    sock = socket.socket(fileno=fd)
    try:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
            # Where the kernel has no such filters a few connections are reset: no reason to fail.
            with contextlib.suppress(OSError):
                program = _Program(len(_INSTRUCTIONS), _INSTRUCTIONS)
                sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
    finally:
        sock.detach()


def let_in(fd: int) -> None:
    """Connections can begin again; nothing changes where they could all the time."""
    sock = socket.socket(fileno=fd)
    try:
        with contextlib.suppress(OSError):  # there is no filter
            sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    finally:
        sock.detach()
