"""Workers whose supervisor was killed: they serve on until another gateway with the same configuration does.

Each worker that accepts connections holds an abstract Unix socket whose name says the configuration and its
supervisor. A supervisor that starts finds those of others, shares the ports with them, and answers at the upgrade
address once it serves: then they drain. Until the last of those names is gone, it takes no change of the configuration.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

SERVE_ON_S = 15.0
_LOOK_S = 0.05
_NAMES = Path("/proc/net/unix")


def mark_serving(upgrade_address: str) -> socket.socket:
    """The mark of a worker that accepts connections, made before it does; closing it takes it away."""
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    mark.bind(f"{_prefix(upgrade_address)}{os.getppid()}-{os.getpid()}")
    return mark


def there_are_orphans(upgrade_address: str) -> bool:
    """Whether workers of other supervisors than this process accept connections."""
    prefix = "@" + _prefix(upgrade_address)[1:]
    try:
        lines = _NAMES.read_text().splitlines()
    except OSError:
        return False
    names = (line.rpartition(" ")[2] for line in lines)
    mine = f"{prefix}{os.getpid()}-"
    return any(name.startswith(prefix) and not name.startswith(mine) for name in names)


def _prefix(upgrade_address: str) -> str:
    return f"{upgrade_address}-serving-"


async def wait_for_successor(upgrade_address: str, limit_s: float = SERVE_ON_S) -> bool:
    """Until another gateway serves; False: none came in time."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            probe.setblocking(False)
            try:
                probe.connect(upgrade_address)
            except BlockingIOError:
                return True  # its queue is full of others who ask
            except OSError:
                pass
            else:
                return True
        await asyncio.sleep(_LOOK_S)
    return False


async def orphans_gone(upgrade_address: str, limit_s: float = 5.0) -> bool:
    """Until no orphan accepts connections any more; False: one still does."""
    deadline = time.monotonic() + limit_s
    while there_are_orphans(upgrade_address):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_S / 5)
    return True
