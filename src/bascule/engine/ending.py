# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""How exchanges end: an answer made here, a client that went away, the log phase, the way back into the spare list."""

import cython
from cython.cimports.bascule.engine.exchange import (
    X_ANSWERED,
    X_DONE,
    X_RESOLVE,
    X_RESPONSE,
    X_TUNNEL,
    Exchange,
    source_name,
)
from cython.cimports.bascule.engine.hedge import dismiss
from cython.cimports.bascule.engine.outcome import drop_upstream, leave
from cython.cimports.bascule.engine.parties import Core, Downstream, Upstream
from cython.cimports.bascule.engine.phases import lets_pass
from cython.cimports.bascule.engine.plan import Step
from cython.cimports.bascule.engine.request_body import body_sent_or_none, tell_tees
from cython.cimports.bascule.engine.upstream_response import filter_body, run_header_filters
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.http1 import name_is
from cython.cimports.cpython.ref import Py_REFCNT

from bascule.engine.grpc_answer import trailers_only
from bascule.engine.held_body import ClientGone
from bascule.engine.pages import page


@cython.cfunc
def respond(x: Exchange, r: Response, source: cython.int) -> cython.int:
    """Answers from here: a plugin's response (source 1) or an error of the gateway's (0)."""
    if r.status >= 400 and asks_grpc(x):
        r = trailers_only(r)
    x.source = source
    r.source = source_name(source)
    drop_upstream(x)
    if x.rivals is not None:
        dismiss(x)
    x.held_want = -1
    x.response = r
    x.status = r.status
    x.state = X_ANSWERED
    if x.request is not None and x.request.ahead is not None:
        r.take_headers(x.request)
    if x.chain is not None and x.chain.needs_response:
        x.ensure()
        x.request.response = r
        if x.chain.header_filter:
            run_header_filters(x)
        if x.chain.body_filter:
            filter_body(x, r.body, True)
    x.status = r.status
    return x.down.answer(x, r)


@cython.cfunc
@cython.exceptval(check=False)
def asks_grpc(x: Exchange) -> cython.bint:
    """Whether the request is a gRPC call: its content type is application/grpc or application/grpc+something."""
    i: cython.int = x.req.find(b"content-type", 12, 0)
    p: cython.p_const_char
    n: cython.int
    if i < 0:
        return False
    p = x.req.data + x.req.m.fields[i].value_off
    n = x.req.m.fields[i].value_len
    return n >= 16 and name_is(p, b"application/grpc", 16) and (n == 16 or p[16] == b"+" or p[16] == b";")


@cython.cfunc
def fail(x: Exchange, status: cython.int, reason: str) -> cython.int:
    """An error answer of the gateway's own."""
    if x.state == X_RESPONSE or x.state == X_TUNNEL:
        return x.down.abort()
    if x.state == X_ANSWERED or x.state == X_DONE:
        return 0
    x.failure = reason
    if status == 400 or status == 408 or status == 413:
        x.down.close_after = True  # what else this client sends is not to be trusted, or not to be waited for
    if status == 404:
        return respond(x, Response(404, {"error_msg": "404 Route Not Found"}), 0)
    return respond(x, Response(status, page(status), {"Content-Type": "text/html; charset=utf-8"}), 0)


@cython.cfunc
def client_gone(x: Exchange) -> cython.int:
    """The client's connection is closed."""
    if x.state == X_DONE:
        return 0
    if x.status == 0 or x.state < X_RESPONSE:
        x.status = 499
        x.source = 0
    return finish(x)


@cython.cfunc
def finish(x: Exchange) -> cython.int:
    """Logs, returns the upstream connection, lets the client's side go on."""
    core: Core = x.core
    u: Upstream = x.up
    down: Downstream = x.down
    step: Step
    if x.state == X_DONE:
        return 0
    x.t_end = core.poller.now
    if u is not None:
        x.up = None
        u.x = None
        leave(x, x.upstream_status != 0)
        if x.response_done and body_sent_or_none(x) and x.state == X_RESPONSE:
            u.release()
        else:
            u.cancel()
    if x.rivals is not None:
        dismiss(x)
    if x.state == X_TUNNEL:
        others: set = x.core.tunnels[x.route.id]
        others.discard(x)
        if not others:
            del x.core.tunnels[x.route.id]
        if x.relay is not None:
            x.relay.stop()
            x.relay = None
    if x.timer is not None:
        core.poller.disarm(x.timer)
    if x.state == X_RESOLVE:
        stop_waiting(x)
    x.state = X_DONE
    if x.held_waiter is not None:
        waiter = x.held_waiter
        x.held_waiter = None
        if not waiter.done():
            waiter.set_exception(ClientGone("the client closed the connection"))
            waiter.exception()  # who waits may be cancelled before it looks: nobody's loss
    if x.task is not None:
        x.task.cancel()
    if x.tees is not None:
        tell_tees(x, cython.NULL, 0, True)
    if x.shadow:
        x.down = None
        down.finished(x)
        recycle(x)
        return 0
    core.exchanges -= 1
    if x.chain is not None and x.chain.log:
        x.ensure()
        for entry in x.chain.log:
            step = cython.cast(Step, entry)
            try:
                if step.filter is None or lets_pass(x, step):
                    step.call(x.request)
            except Exception as error:
                core.log.error("plugin %s failed in its log phase", step.plugin, exc_info=error)
    core.record(x)
    if x.status >= 100 and x.status < 600:
        core.by_class[x.status // 100] += 1
    x.down = None
    if down is not None:
        down.finished(x)
    recycle(x)
    return 0


@cython.cfunc
def stop_waiting(x: Exchange) -> cython.int:
    if x.pause is not None:
        x.pause.cancel()
    elif x in x.endpoint.waiters:
        x.endpoint.waiters.remove(x)
    return 0


@cython.cfunc
def recycle(x: Exchange) -> cython.int:
    """Into the spare list, unless a plugin still holds the request (and so the head's bytes)."""
    if x.task is not None:
        return 0
    if x.request is not None:
        if Py_REFCNT(x.request) > 2:  # ours, and the one that the call itself holds
            return 0
        x.request.exchange = None
    if len(x.core.spare) < 256:
        x.reset()
        x.core.spare.append(x)
    return 0
