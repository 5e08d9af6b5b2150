"""The garbage collector of a worker: it must not walk the whole configuration while requests wait.

The tables hold no cycles: what is replaced in them goes at once, by its reference count. So what is there is frozen,
which hides it from the collector, and only what came since is ever walked. Plugins may leave cycles behind, though, and
what was frozen in the middle of something may end as one: when memory has grown by half, all is collected once.
"""

from __future__ import annotations

import gc
from pathlib import Path

_STATM = Path("/proc/self/statm")
_GROWN = 1.5
_SLACK_PAGES = 4096  # 16 MB
# Of these three, the first is what one collection walks at least: 5,000 objects take half a millisecond.
THRESHOLDS = (5_000, 20, 50)


class Garbage:
    """From its making on. `collections`: those of everything."""

    def __init__(self) -> None:
        gc.enable()
        gc.set_threshold(*THRESHOLDS)
        self.collections = 0
        self._pages = 0
        self.collect()

    def settle(self) -> None:
        """Something was put into the tables: it stays."""
        gc.collect(1)
        gc.freeze()

    def look(self) -> None:
        """From time to time."""
        if resident_pages() > self._pages * _GROWN + _SLACK_PAGES:
            self.collect()

    def collect(self) -> None:
        """All of it, however long it takes."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self.collections += 1
        self._pages = resident_pages()


def resident_pages() -> int:
    return int(_STATM.read_text().split()[1])
