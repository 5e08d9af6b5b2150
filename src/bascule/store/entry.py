"""What a live store holds, takes and tells. Values are JSON texts; nobody here looks into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """`created` and `modified`: the revisions of the store that made it and changed it last."""

    key: str
    value: bytes
    created: int
    modified: int


@dataclass(frozen=True, slots=True)
class Put:
    """`expect`: the revision that the key must have been modified at last; 0: it must not exist; None: whatever is
    there. `ttl_s`: the key goes away by itself after so many seconds, unless it is written again."""

    key: str
    value: bytes
    expect: int | None = None
    ttl_s: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Of a key that doesn't exist: no error."""

    key: str
    expect: int | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """A condition of a write: this key exists."""

    key: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A condition of a write: no key that begins with `prefix` was put after `revision`."""

    prefix: str
    revision: int


Operation = Put | Delete
Condition = Exists | Unchanged


class Origin(NamedTuple):
    """Who writes, and why: kept with the revision by stores that keep a history."""

    actor: str
    note: str = ""


class Event(NamedTuple):
    """`value` None: deleted. `created` and `modified` as in an entry; of a deletion, `modified` is when."""

    key: str
    value: bytes | None
    created: int
    modified: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One step, to be applied whole. `complete`: `events` are all that there is now, what else was known is gone."""

    revision: int
    events: list[Event] = field(default_factory=list)
    complete: bool = False


class Conflict(Exception):
    """An expectation or a condition of a write didn't hold; nothing was written. `key`: whose, as far as is known."""

    def __init__(self, key: str = "") -> None:
        super().__init__("value changed before overwritten")
        self.key = key


class StoreUnavailable(Exception):
    """The store can't be reached or can't write. The text says what happened, and where."""


class LiveStore(Protocol):
    """Thread: everything on one event loop. Each method may raise StoreUnavailable."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> Entry | None: ...

    async def list(self, prefix: str) -> tuple[list[Entry], int]:
        """Entries whose key begins with `prefix`, by (created, key), and the revision that this is the state of."""

    async def revisions(self, prefix: str) -> dict[str, int]:
        """Of each key that begins with `prefix`, the revision that changed it last: without its value, so that it is
        cheap to look whether anything is new. With keys of folders, which hold nothing, where the store has such."""

    async def write(self, operations: Sequence[Operation], origin: Origin, conditions: Sequence[Condition] = ()) -> int:
        """All or nothing, durable when it returns; the new revision. No key stands in it twice. Raises Conflict."""

    async def new_id(self) -> int:
        """A number that no other call gets, for resources that are created without a name: APISIX uses a revision."""

    def watch(self) -> AsyncIterator[Batch]:
        """First a complete batch, then each step in order, as soon as it is durable. Never ends and never raises:
        while the store can't be reached it tries again, and `trouble` says so. One watcher at a time."""

    @property
    def trouble(self) -> str | None:
        """Why the store can't be reached or written at present; None: all is well."""


class ChangedKey(NamedTuple):
    """None: it wasn't there (`before`), it isn't any more (`after`)."""

    key: str
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Revision:
    """`time`: Unix seconds."""

    number: int
    time: float
    origin: Origin
    changes: tuple[ChangedKey, ...]


class Ledger(Protocol):
    """What a store with a history has besides."""

    async def revision(self) -> int:
        """The latest."""

    async def history(self, *, before: int | None = None, limit: int = 50, prefix: str = "") -> list[Revision]:
        """Newest first; those that changed a key which begins with `prefix`, with all their changes."""

    async def state(self, revision: int) -> dict[str, bytes]:
        """Everything as it was right after `revision`. Raises LookupError when the history doesn't reach back so far,
        or there is no such revision yet."""
