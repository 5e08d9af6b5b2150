"""Free TCP ports, taken from below the ephemeral range so that no outgoing connection can steal one in between."""

import os
import random
import socket

_random = random.Random(os.getpid())


def free_port() -> int:
    """A port that nobody listens on, neither on IPv4 nor on IPv6."""
    for _ in range(200):
        port = _random.randrange(10_000, 32_000)
        with socket.socket(socket.AF_INET6) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                probe.bind(("::", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port found")
