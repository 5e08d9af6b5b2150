"""Times an upstream exchange may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeout:
    """Seconds to connect, between two writes, between two reads."""

    connect_s: float
    send_s: float
    read_s: float
