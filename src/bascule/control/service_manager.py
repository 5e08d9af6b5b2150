"""What systemd is told (Type=notify): that the gateway serves, and which process is the main one after an upgrade."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger("bascule.supervisor")


def tell_service_manager(address: str | None) -> None:
    """`address`: as in the environment variable NOTIFY_SOCKET; None: nobody wants to know."""
    if not address:
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(name)
            sock.sendall(f"READY=1\nMAINPID={os.getpid()}\n".encode())
    except OSError as error:
        log.warning("the service manager can't be told at %s: %s", address, (error.strerror or str(error)).lower())
