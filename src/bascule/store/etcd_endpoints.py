"""Which of etcd's addresses is asked: the one that answered last; one that failed rests a while."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_REST_S = 10.0


class EtcdEndpoints:
    """`clock`: seconds that only go up. The nodes of a fleet begin with different ones, so that they share the load."""

    def __init__(self, urls: Sequence[str], clock: Callable[[], float], choice: random.Random | None = None) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        (choice or random.Random()).shuffle(self._urls)
        self._clock = clock
        self._failed_at: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<etcd endpoints {self.in_order()}>"

    def __len__(self) -> int:
        return len(self._urls)

    def in_order(self) -> list[str]:
        """All of them: first those that are well, then those that rest, the longest first."""
        now = self._clock()
        resting = {url: at for url, at in self._failed_at.items() if now - at < _REST_S}
        return sorted(self._urls, key=lambda url: resting.get(url, float("-inf")))

    def answered(self, url: str) -> None:
        self._failed_at.pop(url, None)
        if self._urls[0] != url:
            self._urls.remove(url)
            self._urls.insert(0, url)

    def failed(self, url: str) -> None:
        self._failed_at[url] = self._clock()
