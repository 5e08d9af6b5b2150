"""Workers whose supervisor was killed: they serve on until another gateway with the same configuration does.

Each worker that accepts connections holds an abstract Unix socket whose name says the configuration and its
supervisor. A supervisor that starts finds those of others, shares the ports with them (the very sockets, if it got them
of their keeper), and answers at the upgrade address once it serves: then they drain. Until the last of those names is
gone, it takes no change of the configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time

from bascule.control.abstract_names import abstract_names
from bascule.control.handover import HandoverFailed, Taker

SERVE_ON_S = 15.0
_LOOK_S = 0.05


def mark_serving(upgrade_address: str) -> socket.socket:
    """The mark of a worker that accepts connections, made before it does; closing it takes it away."""
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    mark.bind(f"{_prefix(upgrade_address)}{os.getppid()}-{os.getpid()}")
    return mark


def there_are_orphans(upgrade_address: str) -> bool:
    """Whether workers of other supervisors than this process accept connections."""
    prefix = _prefix(upgrade_address)
    mine = f"{prefix}{os.getpid()}-"
    return any(not name.startswith(mine) for name in abstract_names(prefix))


def _prefix(upgrade_address: str) -> str:
    return f"{upgrade_address}-serving-"


async def wait_for_successor(upgrade_address: str, limit_s: float = SERVE_ON_S) -> frozenset[int] | None:
    """Until another gateway serves; the identities (inodes) of its listening sockets. None: none came in time."""
    deadline = time.monotonic() + limit_s
    while (left_s := deadline - time.monotonic()) > 0:
        with contextlib.suppress(HandoverFailed):
            facts = await asyncio.to_thread(Taker.ask, upgrade_address, left_s)
            return frozenset(facts.get("listening", ()))
        await asyncio.sleep(_LOOK_S)
    return None


async def orphans_gone(upgrade_address: str, limit_s: float = 5.0) -> bool:
    """Until no orphan accepts connections any more; False: one still does."""
    deadline = time.monotonic() + limit_s
    while there_are_orphans(upgrade_address):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_S / 5)
    return True
