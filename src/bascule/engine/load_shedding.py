# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Shedding load when the worker itself is saturated: some new requests are answered 503 at once, so that the others are
served in time.

The measure is the worker's own lag: how long what has arrived waits before the loop looks at it. A probe tells it, an
event that the worker sends itself, which stands in the same queue as all others. Slow upstreams don't lengthen that
queue, nor does a single slow turn: of the probes between two controls the smallest counts.

The share that is shed follows the lag as in PIE (RFC 8033): it grows with what the lag is above its target, and with
how fast it grows. It begins only after several controls in a row found too much. A limit of requests in flight would be
no such measure: how many there are depends on how slow the upstreams are.
"""

import os

import cython
from cython.cimports.bascule.engine.parties import Core
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.poller import now_us
from cython.cimports.bascule.plugin.response import Response

from bascule.engine.pages import page

LABEL = "load-shedding"
CLASSES = {"first": SHED_FIRST, "normal": SHED_NORMAL, "last": SHED_LAST, "never": SHED_NEVER}
PAUSE_MS = cython.declare(cython.long, 50)  # between probes; the wheel makes it 100 to 150
CONTROL_US = cython.declare(cython.longlong, 100000)
STREAK = cython.declare(cython.int, 3)
ALPHA = cython.declare(cython.double, 0.02)  # per control, of what the lag is above its target, in targets
BETA = cython.declare(cython.double, 0.08)  # the same, of what it has grown by
MOST = cython.declare(cython.double, 0.98)  # some requests are always served
HUGE = cython.declare(cython.longlong, 1 << 62)


@cython.cfunc
def shed_class(labels: object, service_labels: object) -> cython.int:
    """Of a route with these labels, and those of its service: its own word counts, if it has one."""
    said: object = labels.get(LABEL) if labels else None
    if said is None and service_labels:
        said = service_labels.get(LABEL)
    return CLASSES.get(said, SHED_NORMAL)


@cython.cclass
class LoadShedder(Handle):
    def __init__(self, core: Core, metrics, worker: str, max_lag_s: float, retry_after_s: int):
        self.core = core
        self.target_us = int(max_lag_s * 1e6)
        self.least = HUGE
        self.seed = int.from_bytes(os.urandom(8), "little") | 1
        self.answer_headers = [("Content-Type", "text/html; charset=utf-8"), ("Retry-After", str(retry_after_s))]
        text = "How long events wait in a worker before it looks at them, as of its last probes"
        self.lag_gauge = metrics.gauge("bascule_worker_lag_seconds", text, ("worker",)).child((worker,))
        text = "The share of new requests that a worker sheds"
        self.share_gauge = metrics.gauge("bascule_worker_shed_share", text, ("worker",)).child((worker,))
        family = metrics.counter("bascule_shed_requests", "Requests that were shed", ("class",))
        self.counters = [family.child((name,)) for name in ("first", "normal", "last")]
        self.share_gauge.set(0)
        self.calm_at = now_us()
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        core.poller.watch(self, cnet.EPOLLIN | cnet.EPOLLET)
        core.poller.arm(self, PAUSE_MS)

    def __repr__(self):
        return f"<load shedder lag={self.before} us share={self.share:.3f}>"

    @cython.cfunc
    @cython.exceptval(check=False)
    def drop(self, kind: cython.int) -> cython.bint:
        """Whether a new request of this class is to be shed; asked only while core.shedding."""
        if kind == SHED_NEVER:
            return False
        self.came[kind] += 1
        self.seed ^= self.seed << 13  # xorshift
        self.seed ^= self.seed >> 7
        self.seed ^= self.seed << 17
        if (self.seed >> 11) * (1.0 / 9007199254740992.0) >= self.chance[kind]:
            return False
        self.shed[kind] += 1
        return True

    @cython.cfunc
    def answer(self) -> object:
        return Response(503, page(503), self.answer_headers)

    @cython.cfunc
    def probe(self) -> cython.int:
        self.sent_at = now_us()
        os.eventfd_write(self.fd, 1)  # edge-triggered: nobody has to read it
        self.poller.arm(self, PAUSE_MS)
        return 0

    @cython.cfunc
    def on_timeout(self) -> cython.int:
        """Time for a probe; one that is still on its way tells something as well."""
        now: cython.longlong = now_us()
        if self.sent_at == 0:
            return self.probe()
        if now - self.sent_at > self.target_us and now >= self.due:
            self.least = now - self.sent_at
            self.control(now)
        self.poller.arm(self, PAUSE_MS)
        return 0

    @cython.cfunc
    def on_event(self, events: cython.uint) -> cython.int:
        now: cython.longlong
        lag: cython.longlong
        if self.sent_at == 0:
            return 0
        now = now_us()
        lag = now - self.sent_at
        self.sent_at = 0
        if lag < self.least:
            self.least = lag
        if now >= self.due:
            self.control(now)
        if lag * 2 > self.target_us:
            return self.probe()
        self.poller.arm(self, PAUSE_MS)
        return 0

    @cython.cfunc
    def control(self, now: cython.longlong) -> cython.int:
        lag: cython.longlong = self.least
        target: cython.double = self.target_us
        over: cython.double = min(4.0, max(-1.0, (lag - self.target_us) / target))
        growth: cython.double = min(4.0, max(-4.0, (lag - self.before) / target))
        i: cython.int
        self.least = HUGE
        self.before = lag
        self.due = now + CONTROL_US
        self.lag_gauge.set(lag / 1e6)
        if self.share == 0.0:
            if lag <= self.target_us:
                self.streak = 0
                self.calm_at = now
            else:
                self.streak += 1
            if self.streak < STREAK:
                return 0
            # While the loop worked off one second's worth, so much more than that came.
            self.share = lag / cython.cast(cython.double, lag + now - self.calm_at)
            over = growth = 0.0
            self.core.log.warning("saturated: events wait %.0f ms; shedding load", lag / 1e3)
        self.share += ALPHA * over + BETA * growth
        if lag * 10 < self.target_us:
            self.share *= 0.75
        if self.share < 0.005:
            self.share = 0.0
            self.streak = 0
            self.core.log.warning("no longer saturated: no load is shed")
        elif self.share > MOST:
            self.share = MOST
        self.core.shedding = self.share > 0.0
        self.spread()
        self.share_gauge.set(self.share)
        for i in range(3):
            if self.shed[i]:
                self.counters[i].inc(self.shed[i])
                self.shed[i] = 0
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def spread(self) -> cython.void:
        """The share over the classes, by what came of each: one gives all before the next gives anything."""
        total: cython.double = self.came[SHED_FIRST] + self.came[SHED_NORMAL] + self.came[SHED_LAST]
        left: cython.double = self.share * total
        i: cython.int
        for i in range(3):
            if total == 0:
                self.chance[i] = self.share
            elif self.came[i] == 0:
                self.chance[i] = 1.0 if left > 0 else 0.0
            else:
                self.chance[i] = min(1.0, left / self.came[i])
                left -= self.chance[i] * self.came[i]
            self.came[i] = 0
