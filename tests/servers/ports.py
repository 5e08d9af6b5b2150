"""Free TCP ports, taken from below the ephemeral range so that no outgoing connection can steal one in between."""

import os
import random
import socket
from collections import deque

_random = random.Random(os.getpid())
# Processes of one run take turns in the numbers: what one has chosen and not yet bound, no other one chooses.
_PROCESSES = max(1, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
_OWN = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES

_given: deque[int] = deque(maxlen=500)  # the same for this process: what it was given just now may not be bound yet


def free_port() -> int:
    """A port that nobody listens on, neither on IPv4 nor on IPv6."""
    for _ in range(200):
        port = _random.randrange(10_000 + _OWN, 32_000, _PROCESSES)
        if port in _given:
            continue
        with socket.socket(socket.AF_INET6) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                probe.bind(("::", port))
            except OSError:
                continue
            _given.append(port)
            return port
    raise RuntimeError("no free port found")
