# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The request body on its way: held for plugins, copied for tees, kept for a further try, sent to the upstream."""

import cython
from cython.cimports.bascule.engine.ending import fail, finish
from cython.cimports.bascule.engine.exchange import X_ANSWERED, X_RESPONSE, X_SENT, Exchange
from cython.cimports.bascule.engine.failure import F_CLOSED, F_CONNECT
from cython.cimports.bascule.engine.outcome import drop_upstream
from cython.cimports.bascule.engine.parties import Tee, Upstream
from cython.cimports.bascule.engine.tries import upstream_failed
from cython.cimports.libc.stdlib import realloc
from cython.cimports.libc.string import memcpy

from bascule.engine.held_body import HeldBody


@cython.cfunc
@cython.exceptval(check=False)
def wants_body(x: Exchange) -> cython.bint:
    """Whether the client's side may read (and hand on) body bytes now."""
    if x.held_want >= 0:
        return True
    if x.state == X_SENT or x.state == X_RESPONSE:
        return x.up is None or x.up.wlen == 0
    return x.state == X_ANSWERED


@cython.cfunc
def body_in(
    x: Exchange,
    p: cython.p_const_char,
    n: cython.Py_ssize_t,
    data: cython.p_const_char,
    k: cython.Py_ssize_t,
    last: cython.bint,
) -> cython.int:
    """Body bytes of the client: n as received (with their chunk framing), k of them data."""
    x.body_bytes += k
    if last:
        x.body_done = True
    if x.body_limit and x.body_bytes > x.body_limit and x.state < X_RESPONSE:
        drop_upstream(x)
        return fail(x, 413, "the request body is larger than the limit")
    if x.tees is not None:
        tell_tees(x, data, k, last)
    if x.held_want >= 0:
        if k:
            x.held.append(data[:k])
        if last or cython.cast(cython.longlong, x.held.size) >= x.held_want:
            x.held.complete = last
            wake_holder(x)
        return 0
    if x.up is None or x.state == X_ANSWERED:  # nobody wants it any more
        if last:
            return request_body_end(x)
        return 0
    if x.request is not None and x.request.body_out is not None:
        if last:
            return request_body_end(x)
        return 0
    if x.recode or x.up.bare:
        if k and forward_body(x, data, k) < 0:
            return 0
    elif forward_body(x, p, n) < 0:
        return 0
    if last:
        if x.up is not None and x.up.end_body(x.recode) < 0 and upstream_deaf(x) < 0:
            return 0
        return request_body_end(x)
    return 0


@cython.cfunc
def pass_body(x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
    return x.up.send_chunk(p, n) if x.recode else x.up.send_body(p, n)


@cython.cfunc
def forward_body(x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
    grown: cython.p_char
    if x.state == X_SENT and not x.replay_lost:
        if x.held is not None or x.replay_len + n > REPLAY_LIMIT:
            x.replay_lost = True
        else:
            if x.replay_len + n > x.replay_cap:
                x.replay_cap = cython.cast(cython.int, x.replay_len + n + 2048)
                grown = cython.cast(cython.p_char, realloc(x.replay, x.replay_cap))
                if grown == cython.NULL:
                    raise MemoryError
                x.replay = grown
            memcpy(x.replay + x.replay_len, p, n)
            x.replay_len += cython.cast(cython.int, n)
    if n and pass_body(x, p, n) < 0:
        return upstream_deaf(x)
    return 0


@cython.cfunc
def push_held(x: Exchange) -> cython.int:
    """Sends what was held of the body, as far as the upstream takes it. 1: all of it is out."""
    u: Upstream = x.up
    piece: bytes
    total: cython.longlong = x.held.size
    while x.held_offset < total:
        if u is None or u.wlen:
            return 0
        piece = x.held.piece(x.held_offset)
        if pass_body(x, piece, len(piece)) < 0:
            upstream_deaf(x)
            return 0
        x.held_offset += len(piece)
    if x.body_done and not x.body_sent:
        x.body_sent = True
        if x.up is not None and x.up.end_body(x.recode) < 0:
            upstream_failed(x, F_CLOSED, "the request body could not be sent")
            return 0
    return 1


@cython.cfunc
def upstream_deaf(x: Exchange) -> cython.int:
    """The upstream takes no more of the body; -1: the try has failed for good.

    Perhaps it has answered and closed: its answer is still to be read, and the rest of the body is read and
    dropped; it must not be taken for sent before it has come.
    """
    u: Upstream = x.up
    if (x.state == X_SENT or x.state == X_RESPONSE) and u.sent != u.mark:
        u.readable = True
        u.half_closed = True
        x.core.poller.later(u)
        return 0
    upstream_failed(x, F_CONNECT if u.connecting else F_CLOSED, "the request body could not be sent")
    return -1


@cython.cfunc
def request_body_end(x: Exchange) -> cython.int:
    x.body_sent = True
    if x.response_done and x.state == X_RESPONSE:
        return finish(x)
    if x.state == X_ANSWERED:
        return finish(x)
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def body_sent_or_none(x: Exchange) -> cython.bint:
    return not x.has_body or x.body_sent


@cython.cfunc
def tell_tees(x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t, last: cython.bint) -> cython.int:
    """`p` may be NULL, for the end of what comes."""
    tees: list = x.tees
    tee: Tee
    x.tees = None
    for entry in tees:
        tee = cython.cast(Tee, entry)
        if p == cython.NULL:
            tee.lost()
        elif tee.add(x, p, n, last) == 0:
            if x.tees is None:
                x.tees = []
            x.tees.append(tee)
    return 0


@cython.cfunc
def hold_body(x: Exchange, n: object):
    """Holds at least n bytes, or all: None when so much is held, else the Future that waits for it."""
    if x.held is None:
        x.held = HeldBody()
        if not x.has_body:
            x.body_done = True
            x.held.complete = True
    if x.body_done or x.held.size >= n:
        return None
    x.held_want = n
    x.down.more_body(x)  # what has arrived already may be enough
    if x.held_want < 0:
        return None
    x.held_waiter = x.core.loop.create_future()
    return x.held_waiter


@cython.cfunc
def wake_holder(x: Exchange) -> cython.int:
    x.held_want = -1
    if x.held_waiter is not None:
        waiter = x.held_waiter
        x.held_waiter = None
        if not waiter.done():
            waiter.set_result(None)
    return 0
