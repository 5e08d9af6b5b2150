"""Batches of log entries: collected in the log phase, sent by a task of their own, tried again when that fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from bascule.plugin.host import Cancellable, Host

ENTRIES = "apisix_batch_process_entries"
DROPPED = "bascule_batch_dropped_entries_total"


class BatchProcessor:
    """`push(entry)` never waits. A batch goes to `send` when it has `batch_max_size` entries, when its first entry is
    `buffer_duration` s old, or when none came for `inactive_timeout` s. Batches are sent one after the other, in order.

    `send` raises when it failed; the batch is then tried `max_retry_count` more times, `retry_delay` s apart, and
    dropped. At most `max_pending_entries` wait (also those being sent): the newest are dropped beyond that, so that
    what waits is a run without holes. Dropped entries are counted and logged, once per outage.

    `close()` sends what waits; the gateway awaits spawned tasks when it shuts down."""

    def __init__(
        self,
        host: Host,
        send: Callable[[list[Any]], Awaitable[None]],
        *,
        name: str,
        batch_max_size: int = 1000,
        inactive_timeout: float = 5,
        buffer_duration: float = 60,
        max_retry_count: int = 0,
        retry_delay: float = 1,
        max_pending_entries: int = 8192,
        server_addr: str = "",
    ) -> None:
        self.name = name
        self._host = host
        self._send = send
        self._batch_max_size = batch_max_size
        self._inactive_timeout_s = inactive_timeout
        self._buffer_duration_s = buffer_duration
        self._max_retry_count = max_retry_count
        self._retry_delay_s = retry_delay
        self._max_pending_entries = max_pending_entries
        kind, _, id = host.holder.partition("/")
        self._gauge = host.metrics.gauge(
            ENTRIES, "Entries that wait to be sent, by batch processor.", ("name", "route_id", "server_addr")
        ).child((name, id if kind == "routes" else "", server_addr))
        self._dropped = host.metrics.counter(
            DROPPED, "Entries dropped: the queue was full, or sending failed for good.", ("name", "reason")
        )
        self._entries: list[Any] = []
        self._first_s = 0.0  # when the oldest of _entries came
        self._last_s = 0.0
        self._batches: deque[list[Any]] = deque()
        self._pending = 0  # in _entries, _batches and in flight
        self._timer: Cancellable | None = None
        self._sending = False
        self._overflowing = False

    @property
    def pending(self) -> int:
        return self._pending

    def push(self, entry: Any) -> bool:
        """False: dropped, the queue is full."""
        if self._pending >= self._max_pending_entries:
            self._drop(1, "full")
            return False
        self._last_s = self._host.monotonic()
        if not self._entries:
            self._first_s = self._last_s
        self._entries.append(entry)
        self._count(1)
        if len(self._entries) >= self._batch_max_size:
            self.flush()
        elif self._timer is None:
            self._timer = self._host.call_later(min(self._inactive_timeout_s, self._buffer_duration_s), self._wake)
        return True

    def flush(self) -> None:
        """Sends what has been collected, without waiting for it."""
        if self._entries:
            self._batches.append(self._entries)
            self._entries = []
        if self._batches and not self._sending:
            self._sending = True
            self._host.spawn(self._send_all(), f"batch {self.name}")

    def close(self) -> None:
        """Sends the rest; nothing is pushed afterwards."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

    def _wake(self) -> None:
        """One timer for both limits: a push moves a deadline and not the timer."""
        self._timer = None
        if not self._entries:
            return
        due_s = min(self._last_s + self._inactive_timeout_s, self._first_s + self._buffer_duration_s)
        left_s = due_s - self._host.monotonic()
        if left_s <= 0.001:
            self.flush()
        else:
            self._timer = self._host.call_later(left_s, self._wake)

    async def _send_all(self) -> None:
        try:
            while self._batches:
                batch = self._batches[0]
                is_sent = await self._send_one(batch)
                self._batches.popleft()
                self._count(-len(batch))
                if is_sent:
                    self._overflowing = False
        finally:
            self._sending = False

    async def _send_one(self, batch: list[Any]) -> bool:
        for attempt in range(self._max_retry_count + 1):
            if attempt:
                await self._host.sleep(self._retry_delay_s)
            try:
                await self._send(batch)
                return True
            except Exception as error:
                self._host.log.warning(
                    "batch processor %s: sending %d entries failed (attempt %d of %d): %s",
                    self.name,
                    len(batch),
                    attempt + 1,
                    self._max_retry_count + 1,
                    error or type(error).__name__,
                )
        self._host.log.error("batch processor %s: dropped %d entries that could not be sent", self.name, len(batch))
        self._dropped.child((self.name, "failed")).inc(len(batch))
        return False

    def _count(self, change: int) -> None:
        self._pending += change
        self._gauge.inc(change)

    def _drop(self, number: int, reason: str) -> None:
        self._dropped.child((self.name, reason)).inc(number)
        if not self._overflowing:
            self._overflowing = True
            self._host.log.error(
                "batch processor %s: %d entries wait to be sent, new ones are dropped", self.name, self._pending
            )

    def __repr__(self) -> str:
        return f"<batch {self.name} pending={self._pending} batches={len(self._batches)} sending={self._sending}>"
