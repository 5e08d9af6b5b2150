# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""An upstream's retry_policy as the exchange asks it: which failures and statuses, which methods, how many, how soon.

The budget keeps retries from burying a node that can't keep up: of the last ten seconds, retries may be a share of the
requests, or so many a second, whichever is more. Each worker has its own.
"""

from email.utils import parsedate_to_datetime
from random import random
from time import time

import cython
from cython.cimports.bascule.engine.failure import (
    F_CLOSED,
    F_CONNECT,
    F_CONNECT_TIMEOUT,
    F_MALFORMED,
    F_NO_ADDRESS,
    F_READ_TIMEOUT,
    F_SEND_TIMEOUT,
)
from cython.cimports.bascule.wire.http1 import (
    M_CONNECT,
    M_DELETE,
    M_GET,
    M_HEAD,
    M_OPTIONS,
    M_PATCH,
    M_POST,
    M_PURGE,
    M_PUT,
    M_TRACE,
)

_CAUSES = {
    "connect": (F_CONNECT, F_CONNECT_TIMEOUT, F_NO_ADDRESS),
    "timeout": (F_READ_TIMEOUT, F_SEND_TIMEOUT),
    "reset": (F_CLOSED,),
    "malformed": (F_MALFORMED,),
}
_METHODS = {
    "GET": M_GET,
    "HEAD": M_HEAD,
    "POST": M_POST,
    "PUT": M_PUT,
    "DELETE": M_DELETE,
    "PATCH": M_PATCH,
    "OPTIONS": M_OPTIONS,
    "CONNECT": M_CONNECT,
    "TRACE": M_TRACE,
    "PURGE": M_PURGE,
}
_NAMES = {reason: cause for cause, reasons in _CAUSES.items() for reason in reasons}


def cause_of(reason: int) -> str:
    """The name of a failure (F_*) as retry_policy.on and the metrics have it."""
    return _NAMES[reason]


@cython.cfunc
def bits_of(methods: tuple) -> cython.uint:
    bits: cython.uint = 0
    for method in methods:
        bits |= 1 << cython.cast(cython.uint, _METHODS[method])
    return bits


def retry_after(head: bytes) -> float:
    """Seconds that the Retry-After of a response head asks for; 0: it has none that makes sense."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() != b"retry-after":
            continue
        text = value.strip().decode("latin-1")
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time())
        except (ValueError, OverflowError):
            return 0.0
    return 0.0


@cython.cclass
class RetryPlan:
    """Built from a model/retry_policy.py's RetryPolicy; times in us of the poller's clock."""

    def __init__(self, policy):
        for entry in policy.on:
            if isinstance(entry, int):
                self.statuses[cython.cast(cython.int, entry)] = 1
                self.any_status = True
            else:
                for reason in _CAUSES[entry]:
                    self.causes |= 1 << cython.cast(cython.uint, reason)
        self.methods = bits_of(policy.methods)
        self.share = policy.budget.percent / 100
        self.least = policy.budget.min_per_second
        if policy.backoff is not None:
            self.base_s = policy.backoff.base
            self.most_s = policy.backoff.max
            self.jitter = policy.backoff.jitter
        if policy.per_try_timeout is not None:
            self.per_try_ms = max(1, int(policy.per_try_timeout * 1000))
        if policy.hedge is not None:
            self.hedge_ms = max(1, int(policy.hedge.delay * 1000))
            self.most_hedges = policy.hedge.max
            self.hedged = bits_of(policy.hedge.methods)
        self.retry_after_s = -1 if policy.retry_after_max is None else policy.retry_after_max

    @cython.ccall
    def takes(self, reason: cython.int) -> cython.bint:
        """Whether this failure is a reason to try again."""
        return (self.causes >> reason) & 1

    @cython.ccall
    def takes_status(self, status: cython.int) -> cython.bint:
        return self.any_status and 400 <= status < 600 and self.statuses[status] != 0

    @cython.ccall
    def repeats(self, method: cython.int) -> cython.bint:
        """Whether a request with this method may be sent again after bytes of it went out."""
        return (self.methods >> method) & 1

    @cython.ccall
    def hedges(self, method: cython.int) -> cython.bint:
        """Whether a request with this method may be on its way to two nodes at the same time."""
        return (self.hedged >> method) & 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def turn(self, now: cython.longlong) -> cython.void:
        """Forgets the seconds that have passed since it was asked last."""
        second: cython.long = now // 1000000
        i: cython.int
        passed: cython.long = second - self.second
        if passed <= 0:
            return
        if passed > BUDGET_SECONDS:
            passed = BUDGET_SECONDS
        for i in range(passed):
            self.firsts[(second - i) % BUDGET_SECONDS] = 0
            self.again[(second - i) % BUDGET_SECONDS] = 0
        self.second = second

    @cython.ccall
    def count(self, now: cython.longlong) -> cython.int:
        """A request begins."""
        self.turn(now)
        self.firsts[self.second % BUDGET_SECONDS] += 1
        return 0

    @cython.ccall
    def grant(self, now: cython.longlong) -> cython.bint:
        """Takes one retry out of the budget; False: there is none left."""
        firsts: cython.long = 0
        again: cython.long = 0
        i: cython.int
        self.turn(now)
        for i in range(BUDGET_SECONDS):
            firsts += self.firsts[i]
            again += self.again[i]
        if again + 1 > firsts * self.share and again + 1 > self.least * BUDGET_SECONDS:
            return False
        self.again[self.second % BUDGET_SECONDS] += 1
        return True

    @cython.ccall
    def wait(self, n: cython.int) -> cython.double:
        """Seconds to wait before the n-th retry of a request, n from 1 on."""
        wait: cython.double = self.base_s
        if wait <= 0:
            return 0
        while n > 1 and wait < self.most_s:
            wait *= 2
            n -= 1
        if wait > self.most_s:
            wait = self.most_s
        return wait * (1 - self.jitter * random())
