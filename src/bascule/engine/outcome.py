# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""How a try went: what observers, balancers and the access log hear of it."""

import cython
from cython.cimports.bascule.engine.exchange import Exchange
from cython.cimports.bascule.engine.parties import Upstream


@cython.cfunc
def note_try(x: Exchange, status: object) -> cython.int:
    began: cython.longlong = x.t_sent if x.t_sent > x.t_try else x.t_try  # nothing may have been sent
    if x.tries is None:
        x.tries = []
    x.tries.append((x.address_text(), status, f"{(x.core.poller.now - began) / 1e6:.3f}"))
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def waited(x: Exchange) -> cython.double:
    """Seconds from the request to the response head; to now when none came."""
    came: cython.bint = x.t_head != 0 and x.t_head >= x.t_sent
    return ((x.t_head if came else x.core.poller.now) - x.t_sent) / 1e6


@cython.cfunc
def tell(x: Exchange, status: cython.int, reason: cython.int, sent: cython.bint) -> cython.int:
    """Observers hear how this try went: `outcome(plan, node_index, status, reason, seconds)`, once, at the response
    head (its status) or at the failure (status 0, reason F_*); a try that the client gave up has no outcome.
    Not a failure: a pooled connection that had closed, and an address of the node's name when others are left."""
    seconds: cython.double = 0.0
    if x.told:
        return 0
    x.told = True
    if sent:
        seconds = (x.core.poller.now - x.t_sent + 1) / 1e6  # 0 means that no connection was begun
    for observer in x.upstream.observers:
        try:
            observer.outcome(x.upstream, x.node, status, reason, seconds)
        except Exception as error:
            x.core.log.error("internal error in %r", observer, exc_info=error)
    if x.probing and reason == 0 and x.upstream.guard is not None and not x.upstream.guard.asked_for:
        x.upstream.guard.outcome(x.upstream, x.node, status, 0, seconds)
    return 0


@cython.cfunc
def tell_failure(x: Exchange, reason: cython.int, begun: cython.bint) -> cython.int:
    """Observers and the guard of the nodes hear that the try failed; `begun`: there was a connection to try it on."""
    if len(x.upstream.observers):
        tell(x, 0, reason, begun)
    if x.upstream.guard is None or not x.upstream.guard.asked_for:
        x.core.guards.failed(x.upstream, x.node, reason, 1.0 if begun else 0.0)
    return 0


@cython.cfunc
def tell_cut(x: Exchange, reason: cython.int) -> cython.int:
    """Observers hear that the response was cut whose head they know: `cut(plan, node_index, reason)`."""
    for observer in x.upstream.observers:
        try:
            observer.cut(x.upstream, x.node, reason)
        except Exception as error:
            x.core.log.error("internal error in %r", observer, exc_info=error)
    return 0


@cython.cfunc
def heard(x: Exchange) -> cython.int:
    """The node answers."""
    x.awaits = False
    x.endpoint.awaited -= 1
    x.endpoint.silent_since = x.core.poller.now
    return 0


@cython.cfunc
def leave(x: Exchange, ok: cython.bint) -> cython.int:
    """The try is over for its node."""
    x.endpoint.active -= 1
    if x.awaits:
        x.awaits = False
        x.endpoint.awaited -= 1
    if x.upstream.counts:
        x.upstream.balancer.on_finish(x.node, waited(x), ok)
    return 0


@cython.cfunc
def drop_upstream(x: Exchange) -> cython.int:
    """Gives the upstream connection up."""
    u: Upstream = x.up
    if u is not None:
        x.up = None
        u.x = None
        leave(x, False)
        u.cancel()
    return 0
