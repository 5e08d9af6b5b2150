# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""A connection that turns into a tunnel: the handshake, who may object to it, the switch, the cut."""

import cython
from cython.cimports.bascule.engine.ending import respond
from cython.cimports.bascule.engine.exchange import X_TUNNEL, Exchange
from cython.cimports.bascule.engine.failure import F_MALFORMED
from cython.cimports.bascule.engine.outcome import heard, tell
from cython.cimports.bascule.engine.phases import hook_failed, lets_pass, settle
from cython.cimports.bascule.engine.plan import RoutePlan, Step
from cython.cimports.bascule.engine.tries import upstream_failed
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.http1 import FIELD_REMOVED, Parsed

from bascule.engine.websocket_key import accept_of


@cython.cfunc
def plain_handshake(x: Exchange) -> cython.int:
    """Somebody will look at the frames: what isn't to be a WebSocket stays a plain request, and no extension may
    change what frames look like."""
    i: cython.int = x.req.find_any(b"upgrade", 7, 0)
    if i >= 0 and x.req.value(i).lower() != "websocket":
        x.websocket = False
        return 0
    i = x.req.find(b"sec-websocket-extensions", 24, 0)
    while i >= 0:
        x.req.m.fields[i].flags |= FIELD_REMOVED
        i = x.req.find(b"sec-websocket-extensions", 24, i + 1)
    return 0


@cython.cfunc
def handshake_hooks(x: Exchange, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
    """1: nobody objects; 0: another answer went out."""
    step: Step
    r: Response
    x.ensure()
    x.resp.copy(p, m.head_len)
    if x.resp.find(b"sec-websocket-extensions", 24, 0) >= 0:
        upstream_failed(x, F_MALFORMED, "the upstream answered with WebSocket extensions that nobody asked for")
        return 0
    r = Response.__new__(Response)
    r.head = x.resp
    r.status = m.status
    r.source = "upstream"
    x.request.response = r
    for entry in x.chain.ws_handshake:
        step = cython.cast(Step, entry)
        try:
            if step.filter is not None and not lets_pass(x, step):
                continue
            result = settle(step, step.call(x.request))
        except Exception as error:
            result = hook_failed(x, step.plugin, error)
        if result is not None:
            respond(x, cython.cast(Response, result), 1)
            return 0
    return 1


@cython.cfunc
def switch(x: Exchange, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
    """The upstream has switched protocols: from here on bytes flow both ways, until either side, the time limit or
    the end of the route ends it. 0: that was refused, and another answer went out."""
    plan: RoutePlan = x.plan
    if x.ws_key is not None:
        x.resp.copy(p, m.head_len)
        if (x.resp.header("sec-websocket-accept") or "").strip() != accept_of(x.ws_key):
            upstream_failed(x, F_MALFORMED, "the upstream's Sec-WebSocket-Accept doesn't answer the key")
            return 0
    if x.chain.inspects and not handshake_hooks(x, p, m):
        return 0
    x.idle_ms = plan.ws_idle_ms if plan.ws_idle_ms else x.upstream.read_ms
    if x.chain.ws_client or x.chain.ws_upstream or plan.ws_idle_ms or plan.ws_lifetime_ms or plan.ws_ping_ms:
        x.relay = x.core.relay_of(x)
    if x.awaits:
        heard(x)
    x.status = 101
    x.source = 2
    x.upstream_status = 101
    if len(x.upstream.observers) or x.probing:
        tell(x, 101, 0, True)
    x.t_head = x.core.poller.now
    x.state = X_TUNNEL
    x.core.tunnels.setdefault(x.route.id, set()).add(x)
    return 1


@cython.cfunc
def cut_tunnel(x: Exchange) -> cython.int:
    """Ends a tunnel: its route is gone, or the worker goes."""
    if x.state == X_TUNNEL:
        if x.relay is not None:
            x.relay.end(1001, "going away")
        else:
            x.down.abort()
    return 0
