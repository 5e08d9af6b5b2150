"""Workers whose supervisor was killed: they serve on until another gateway with the same configuration does.

Each holds an abstract Unix socket whose name begins with the configuration's upgrade address. A supervisor that starts
finds those names, shares the ports with them, and answers at the upgrade address once it serves: then they drain.
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


def mark_orphan(upgrade_address: str) -> socket.socket:
    """The mark of this process; closing it takes it away."""
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    mark.bind(f"{upgrade_address}-orphan-{os.getpid()}")
    return mark


def there_are_orphans(upgrade_address: str) -> bool:
    prefix = f"@{upgrade_address[1:]}-orphan-"
    try:
        lines = _NAMES.read_text().splitlines()
    except OSError:
        return False
    return any(line.rpartition(" ")[2].startswith(prefix) for line in lines)


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
