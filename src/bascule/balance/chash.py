"""Consistent hashing: a key's node stays the same while nodes come and go, save for the keys of those nodes.

The ring is nginx's and APISIX's, so that moving over doesn't empty the caches behind: a node has 160 points per weight
(divided by the weights' common divisor); a point is the CRC32 of the node's name, with NUL for ":", followed by the
point before it as four little-endian bytes (the first has zeros). A key belongs to the first point that isn't below its
CRC32.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence, Set
from math import gcd
from struct import Struct
from zlib import crc32

from bascule.balance.member import Member

POINTS = 160
# More points than this aren't worth their memory and time: weights are then rounded to what fits.
MAX_POINTS = 1 << 18
_LITTLE_ENDIAN = Struct("<I")


class ConsistentHash:
    """The ring holds all nodes; those passed over leave their keys to the next point, and nobody else's keys move."""

    __slots__ = ("_hashes", "_indexes", "_owners")

    def __init__(self, members: Sequence[Member]) -> None:
        self._indexes = frozenset(member.index for member in members)
        owners: dict[int, int] = {}
        for member, count in zip(members, point_counts([member.weight for member in members]), strict=True):
            base = crc32(member.name.replace(":", "\0").encode())
            point = 0
            for _ in range(count):
                point = crc32(_LITTLE_ENDIAN.pack(point), base)
                owners.setdefault(point, member.index)
        self._hashes = array("I", sorted(owners))
        self._owners = array("I", (owners[point] for point in self._hashes))

    def pick(self, key: str | None, excluded: Set[int]) -> int:
        if self._indexes <= excluded:
            return -1
        owners = self._owners
        at = bisect_left(self._hashes, crc32((key or "").encode("utf-8", "surrogatepass")))
        while True:
            if at == len(owners):
                at = 0
            if owners[at] not in excluded:
                return owners[at]
            at += 1

    def on_start(self, index: int) -> None:
        """Nothing to keep."""

    def on_finish(self, index: int, seconds: float, ok: bool) -> None:
        """Nothing to keep."""

    def __repr__(self) -> str:
        return f"ConsistentHash({len(self._indexes)} nodes, {len(self._hashes)} points)"


def point_counts(weights: Sequence[int]) -> list[int]:
    """Points of each node."""
    step = gcd(*weights) or 1
    counts = [POINTS * weight // step for weight in weights]
    total = sum(counts)
    limit = max(MAX_POINTS, POINTS * len(weights))
    return counts if total <= limit else [max(1, count * limit // total) for count in counts]
