"""Targets that play their inputs to an engine in this process; it is made when one of them is asked for."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from fuzz import http2_live, http2_script, tls_live
from fuzz.targets import Target


class Player(Protocol):
    """Plays an input; see Target.check."""

    def check(self, data: bytes, rng: object) -> str: ...

    def close(self) -> None: ...


LIVE: dict[str, tuple[Callable[[], Player], tuple[bytes, ...], tuple[bytes, ...]]] = {
    "http2-clients": (http2_live.Clients, http2_live.CLIENT_SEEDS, http2_script.WORDS),
    "http2-upstreams": (http2_live.Upstreams, http2_live.UPSTREAM_SEEDS, http2_script.WORDS),
    "tls": (tls_live.Records, tls_live.SEEDS, tls_live.WORDS),
}


@contextlib.contextmanager
def live_target(name: str) -> Iterator[Target]:
    make, seeds, words = LIVE[name]
    with contextlib.closing(make()) as player:
        yield Target(name, seeds, words, player.check)
