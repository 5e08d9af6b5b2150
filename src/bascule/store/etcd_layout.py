"""Where APISIX has what in etcd: below a prefix; folders hold a placeholder, some keys hold no configuration."""

from __future__ import annotations

from bascule.store.keys import KINDS

PLACEHOLDER = b"init_dir"
FOLDERS = (*(f"{kind}/" for kind in KINDS), "plugins/", "data_plane/server_info/")
# Its value means nothing, the revisions of its puts are ids. Bascule puts it with every write, as a sign of it.
COUNTER = "gen_id"
# What Bascule keeps for itself: signs that a lost write must not be done any more.
OWN = "bascule/"


class EtcdLayout:
    """`prefix`: "/apisix". Keys of the store have no prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix.rstrip("/")
        self._root = f"{self.prefix}/".encode()
        self.counter = self.raw(COUNTER)
        own = self.raw(OWN)
        points = [self.raw(folder) for folder in FOLDERS] + [self.counter]
        self._hidden = sorted([*((point, point + b"\0") for point in points), (own, end_of(own))])

    def raw(self, key: str) -> bytes:
        return self._root + key.encode()

    def fence(self, sign: str) -> bytes:
        return self.raw(f"{OWN}fence/{sign}")

    def span(self, prefix: str) -> tuple[bytes, bytes]:
        """First key, and the first behind all that begin with `prefix`."""
        start = self.raw(prefix)
        return start, end_of(start)

    def key(self, raw: bytes, value: bytes | None) -> str | None:
        """None: it holds no configuration."""
        if value == PLACEHOLDER:
            return None
        key = self.text(raw)
        return None if key == COUNTER or key.startswith(OWN) else key

    def text(self, raw: bytes) -> str:
        return raw[len(self._root) :].decode(errors="replace")

    def spans(self, prefix: str) -> list[tuple[bytes, bytes]]:
        """`span` without what holds no configuration: those keys change when nothing does."""
        start, end = self.span(prefix)
        found = []
        for first, behind in self._hidden:
            if first >= end or behind <= start:
                continue
            if start < first:
                found.append((start, first))
            start = behind
        return [*found, (start, end)] if start < end else found


def end_of(prefix: bytes) -> bytes:
    """The first key behind all that begin with `prefix`, which is UTF-8: no byte of it is 0xff."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def united(spans: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The same keys in as few spans as may be, in order."""
    found: list[tuple[bytes, bytes]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found
