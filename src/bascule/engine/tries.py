# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""A try: the request goes to the chosen node. When it fails, or answers with a status that is tried again: once more,
elsewhere, where that is safe; else an error.
"""

import cython
from cython.cimports.bascule.engine.ending import fail
from cython.cimports.bascule.engine.exchange import X_ANSWERED, X_DONE, X_NEW, X_RESOLVE, X_RESPONSE, X_SENT, Exchange
from cython.cimports.bascule.engine.failure import (
    F_CLOSED,
    F_CONNECT,
    F_CONNECT_TIMEOUT,
    F_READ_TIMEOUT,
    F_SEND_TIMEOUT,
)
from cython.cimports.bascule.engine.forward import build_request
from cython.cimports.bascule.engine.hedge import give_way, hedge, may_hedge, rival_failed
from cython.cimports.bascule.engine.node_choice import attempt
from cython.cimports.bascule.engine.outcome import drop_upstream, heard, note_try, tell, tell_cut, tell_failure
from cython.cimports.bascule.engine.parties import Core, Upstream
from cython.cimports.bascule.engine.request_body import pass_body, upstream_deaf
from cython.cimports.bascule.engine.retry import RetryPlan
from cython.cimports.bascule.engine.upgrade import plain_handshake
from cython.cimports.bascule.net.poller import TICK_US, Handle, now_us
from cython.cimports.bascule.plugin.request import Request
from cython.cimports.bascule.wire.http1 import M_DELETE, M_GET, M_HEAD, M_OPTIONS, M_PUT, M_TRACE, Parsed

from bascule.engine.retry import cause_of, retry_after

# Methods that may be sent again after bytes of them went out, when no retry_policy says which.
IDEMPOTENT = cython.declare(
    cython.uint, 1 << M_GET | 1 << M_HEAD | 1 << M_PUT | 1 << M_DELETE | 1 << M_OPTIONS | 1 << M_TRACE
)
NEVER = cython.declare(cython.longlong, 1 << 62)


@cython.cfunc
def send_request(x: Exchange) -> cython.int:
    core: Core = x.core
    rq: Request = x.request
    u: Upstream
    n: cython.int
    body: bytes = None if rq is None else rq.body_out
    m: cython.pointer(Parsed) = cython.address(x.req.m)
    u = core.acquire(x, x.endpoint, x.upstream)
    if u is None:
        return upstream_failed(x, F_CONNECT, "no connection could be opened")
    x.up = u
    u.x = x
    x.endpoint.active += 1
    if x.upstream.counts:
        x.upstream.balancer.on_start(x.node)
    if x.upstream.stall_us:
        x.awaits = True
        x.endpoint.await_answer(core.poller.now)
    if x.held is not None or x.tees is not None:
        x.recode = m.chunked != 0 and not x.body_done
    x.head_sent = x.head_request if rq is None or rq.method_out is None else rq.method_out == b"HEAD"
    if x.websocket and x.chain.inspects:
        plain_handshake(x)
    n = build_request(core, x)
    x.state = X_SENT
    x.t_sent = core.poller.now
    if u.send_head(x, core.out, n, not x.has_body and body is None) < 0:
        if u.connecting:
            return upstream_failed(x, F_CONNECT, "no connection could be made")
        return upstream_failed(x, F_CLOSED, "the request could not be sent")
    if body is not None:
        if (u.send_body(body, len(body)) < 0 or u.end_body(False) < 0) and upstream_deaf(x) < 0:
            return 0
        x.body_sent = x.has_body and x.body_done
    elif x.held is not None:
        x.held_offset = 0
        x.body_sent = False
    elif x.has_body and (x.replay_len or x.body_done):
        if x.replay_len and pass_body(x, x.replay, x.replay_len) < 0 and upstream_deaf(x) < 0:
            return 0
        if x.body_done:
            if u.end_body(x.recode) < 0 and upstream_deaf(x) < 0:
                return 0
            x.body_sent = True
    u.begin(x)
    if x.upstream.retry is not None and x.lead is None:
        time_try(x, core.poller.now)
    if x.has_body and not x.body_sent and x.down is not None:
        x.down.resume()
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def may_replay(x: Exchange) -> cython.bint:
    """Whether the request can be sent again: its body is whole in our hands as far as it was sent."""
    return not x.has_body or not x.replay_lost


@cython.cfunc
def upstream_failed(x: Exchange, reason: cython.int, detail: str) -> cython.int:
    """The try ended without a whole response: again elsewhere where that is safe, else an error or a cut."""
    core: Core = x.core
    u: Upstream = x.up
    retry: RetryPlan
    unsent: cython.bint = True
    stale: cython.bint = False
    silent: cython.bint = True
    repeats: cython.bint
    again: cython.bint
    status: cython.int
    if x.lead is not None:
        return rival_failed(x, reason, detail)
    if x.state == X_DONE or x.down is None:
        return 0
    retry = x.upstream.retry
    repeats = ((IDEMPOTENT if retry is None else retry.methods) >> x.req.m.method) & 1
    core.upstream_failures += not x.shadow
    if u is not None:
        if reason == F_CONNECT or reason == F_CONNECT_TIMEOUT:
            x.endpoint.mark_down(u.address_index, u.resolution, core.poller.now)
        unsent = u.sent == u.mark
        silent = u.received == u.mark_in
        stale = u.reused and silent and reason == F_CLOSED
        drop_upstream(x)
    if x.state == X_RESPONSE:
        if len(x.upstream.observers):
            tell_cut(x, reason)
        if not x.shadow:
            core.log.warning("upstream %s: response cut: %s", x.address_text(), detail)
        x.failure = detail
        return x.down.abort()
    if x.gathered is not None:  # the head came, and nothing of it has gone out
        x.gathered = None
        if len(x.upstream.observers):
            tell_cut(x, reason)
    status = status_of(reason)
    if x.rivals is not None:
        if not stale:
            tell_failure(x, reason, u is not None)
        note_try(x, str(status))
        core.log.warning("upstream %s: %s; the other try goes on", x.address_text(), detail)
        return give_way(x)
    again = may_replay(x) and x.state != X_ANSWERED
    if again and stale and (repeats or unsent):
        # RFC 9112, section 9.3.1: a pooled connection that closed before it answered; once more on a fresh one.
        core.retries += 1
        core.count_retry("stale")
        x.no_pool = True
        return send_request(x)
    if x.upstream.retry_timeout_us and core.poller.now - x.t_connect >= x.upstream.retry_timeout_us:
        again = False
    if again and u is not None and unsent and x.addresses_left > 0:
        note_try(x, str(status))
        x.addresses_left -= 1
        x.held_offset = 0
        core.log.warning("upstream %s: %s; trying another address", x.endpoint.host, detail)
        return send_request(x)
    tell_failure(x, reason, u is not None)
    if again and (repeats or unsent) and x.left > 0 and (silent if retry is None else retry.takes(reason)):
        if retry is None or retry.grant(core.poller.now):
            note_try(x, str(status))
            core.log.warning("upstream %s: %s; trying another node", x.address_text(), detail)
            return try_again(x, cause_of(reason), 0)
        core.count_retry("over budget")
    if not x.shadow:
        core.log.error("upstream %s: %s", x.address_text(), detail)
    if u is not None:
        x.upstream_status = status
    return fail(x, status, detail)


@cython.cfunc
def try_again(x: Exchange, cause: str, wait_s: cython.double) -> cython.int:
    """The request goes out once more, elsewhere if there is another node; after wait_s seconds at least."""
    retry: RetryPlan = x.upstream.retry
    backoff_s: cython.double
    x.core.retries += 1
    x.core.count_retry(cause)
    x.left -= 1
    if x.tried is None:
        x.tried = set()
    x.tried.add(x.node)
    x.held_offset = 0
    if retry is not None:
        backoff_s = retry.wait(len(x.tries))
        if backoff_s > wait_s:
            wait_s = backoff_s
    if wait_s <= 0 and len(x.tries) % 32:  # now and then by way of the loop: tries may fail at once
        return attempt(x)
    x.state = X_RESOLVE
    x.pause = _Pause(x, wait_s)
    return 0


@cython.cfunc
def pause_over(x: Exchange, pause: object) -> cython.int:
    """The time before the next try has passed."""
    if x.pause is pause and x.state == X_RESOLVE:
        x.pause = None
        x.core.poller.now = now_us()
        x.state = X_NEW
        try:
            attempt(x)
        except Exception as error:
            x.core.poller.failed(x.down, error)
    return 0


@cython.cfunc
def retries_status(x: Exchange, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.bint:
    """Whether this response, of which the client has seen nothing, is dropped and the request sent once more."""
    core: Core = x.core
    retry: RetryPlan = x.upstream.retry
    now: cython.longlong = core.poller.now
    wait_s: cython.double = 0
    if x.rivals is not None:
        if len(x.upstream.observers) or x.probing:
            tell(x, m.status, 0, True)
        note_try(x, str(m.status))
        if x.awaits:
            heard(x)
        drop_upstream(x)
        give_way(x)
        return True
    if x.left <= 0 or not retry.repeats(x.req.m.method) or not may_replay(x):
        return False
    if retry.retry_after_s >= 0 and (m.status == 429 or m.status == 503):
        wait_s = retry_after(p[: m.head_len])
        if wait_s > retry.retry_after_s:
            return False
    if x.upstream.retry_timeout_us and now - x.t_connect + wait_s * 1e6 >= x.upstream.retry_timeout_us:
        return False
    if not retry.grant(now):
        core.count_retry("over budget")
        return False
    if len(x.upstream.observers) or x.probing:
        tell(x, m.status, 0, True)
    note_try(x, str(m.status))
    core.log.warning("upstream %s: answered %d; trying again", x.address_text(), m.status)
    if x.awaits:
        heard(x)
    drop_upstream(x)
    try_again(x, "status", wait_s)
    return True


@cython.cfunc
@cython.exceptval(check=False)
def status_of(reason: cython.int) -> cython.int:
    """That a client gets when a request failed so."""
    return 504 if reason == F_CONNECT_TIMEOUT or reason == F_READ_TIMEOUT or reason == F_SEND_TIMEOUT else 502


@cython.cfunc
def time_try(x: Exchange, since: cython.longlong) -> cython.int:
    """Begins the time limit of a single try, and the time before another one goes along with it."""
    timer: TryTimer = cython.cast(TryTimer, x.timer)
    retry: RetryPlan = x.upstream.retry
    hedges: cython.bint = retry.hedge_ms != 0 and may_hedge(x)
    if not hedges and not retry.per_try_ms:
        if timer is not None:
            x.core.poller.disarm(timer)
        return 0
    if timer is None:
        timer = TryTimer()
        timer.poller = x.core.poller
        timer.x = x
        x.timer = timer
    timer.sending = False
    timer.ends = since + 1000 * cython.cast(cython.longlong, retry.per_try_ms) if retry.per_try_ms else NEVER
    timer.hedge_at = x.core.poller.now + 1000 * cython.cast(cython.longlong, retry.hedge_ms) if hedges else NEVER
    return timer.wait()


@cython.cfunc
def try_timed_out(x: Exchange) -> cython.int:
    u: Upstream = x.up
    timer: TryTimer = cython.cast(TryTimer, x.timer)
    if not u.connecting and x.has_body and (timer.sending or not x.body_sent):
        # The client is, or was, still sending, for which its own time limit holds.
        time_try(x, x.core.poller.now)
        timer.sending = not x.body_sent
        return 0
    return upstream_failed(
        x, F_CONNECT_TIMEOUT if u.connecting else F_READ_TIMEOUT, "the try took longer than per_try_timeout"
    )


class _Pause:
    """The time before the next try. The loop, inside the engine's turn, only sees what call_soon gives it."""

    __slots__ = ("exchange", "timer")

    def __init__(self, exchange, wait_s):
        self.exchange = exchange
        loop = cython.cast(Exchange, exchange).core.loop
        self.timer = loop.call_soon(self.begin, loop, wait_s)

    def begin(self, loop, wait_s):
        self.timer = loop.call_later(wait_s, self.end)

    def end(self):
        pause_over(self.exchange, self)

    def cancel(self):
        self.timer.cancel()


@cython.cclass
class TryTimer(Handle):
    @cython.cfunc
    def wait(self) -> cython.int:
        """For what comes first."""
        due: cython.longlong = self.hedge_at if self.hedge_at < self.ends else self.ends
        if due != NEVER:
            # The wheel adds up to two ticks, so as never to be early; on_timeout looks at the time itself.
            self.poller.arm(self, cython.cast(cython.long, (due - self.poller.now - TICK_US) // 1000))
        return 0

    @cython.cfunc
    def on_timeout(self) -> cython.int:
        x: Exchange = self.x
        now: cython.longlong = self.poller.now
        if x.state != X_SENT or x.up is None:
            return 0
        if now >= self.ends:
            return try_timed_out(x)
        if now >= self.hedge_at:
            self.hedge_at = NEVER
            hedge(x)
            if may_hedge(x):
                self.hedge_at = now + 1000 * cython.cast(cython.longlong, x.upstream.retry.hedge_ms)
        return self.wait()
