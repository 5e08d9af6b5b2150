# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The way to the upstream: which one, which of its nodes, the name's address, before_proxy."""

import cython
from cython.cimports.bascule.engine.ending import fail, respond
from cython.cimports.bascule.engine.endpoint import Endpoint
from cython.cimports.bascule.engine.exchange import P_BEFORE_PROXY, P_WHOLE, X_NEW, X_RESOLVE, Exchange
from cython.cimports.bascule.engine.failure import F_NO_ADDRESS
from cython.cimports.bascule.engine.phases import run_phases
from cython.cimports.bascule.engine.tries import send_request, upstream_failed
from cython.cimports.bascule.net.poller import now_us
from cython.cimports.bascule.plugin.request import Request
from cython.cimports.bascule.plugin.response import Response

from bascule.engine.pages import page
from bascule.engine.plan import WHOLE


@cython.cfunc
def connect(x: Exchange) -> cython.int:
    """The phases are over: to the upstream."""
    rq: Request = x.request
    if x.body_limit and x.req.m.content_length > x.body_limit:
        return fail(x, 413, "the request body is announced larger than the limit")
    if x.holds_body and not x.body_done and rq.body_out is None:
        x.holds_body = False
        x.steps = WHOLE
        x.step_index = 0
        x.phase = P_WHOLE
        return run_phases(x)
    if rq is not None and rq.chosen is not None:
        x.upstream = x.core.plan_for(rq.chosen, x.route)
        if x.upstream is None:
            x.failure = f"failed to fetch upstream info by upstream id: {rq.chosen.id}"
            return respond(x, Response(500, {"error_msg": x.failure}), 0)
    elif x.plan.upstream is None:
        if x.plan.missing:
            return fail(x, x.plan.missing, "the route's upstream does not exist")
        return fail(x, 503, "no upstream is configured on the route or its service")
    else:
        x.upstream = x.plan.upstream
    if x.upstream.count == 0:
        return unserved(x, 503, "no valid upstream node")
    x.left = x.upstream.retries
    if x.upstream.retry is not None:
        x.upstream.retry.count(x.core.poller.now)
    if x.upstream.read_key is not None:
        x.key = x.upstream.read_key(x)
    x.t_connect = x.core.poller.now
    return attempt(x)


@cython.cfunc
def attempt(x: Exchange) -> cython.int:
    """Picks a node and sends the request there."""
    x.told = False
    x.probing = False
    x.t_try = x.core.poller.now
    x.node = -1 if x.upstream.sticky is None else stick(x)
    if x.node < 0 and x.upstream.guard is not None and x.core.poller.now >= x.upstream.probe_at:
        x.node = x.upstream.guard.probe(x.upstream, x.tried)
        x.probing = x.node >= 0
    if x.node < 0:
        x.node = x.upstream.pick(x.key, x.tried)
        if x.upstream.stall_us:
            x.node = x.upstream.lively(x.node, x.key, x.tried, x.core.poller.now)
    if x.node < 0 and x.tried is not None:
        x.node = other_node(x)
    if x.node < 0:
        return no_node(x)
    if x.upstream.sticky is not None and not x.stuck:
        x.cookie = x.upstream.sticky.cookie(x.node, x.down.secure)
    x.endpoint = cython.cast(Endpoint, x.upstream.endpoints[x.node])
    x.addresses_left = x.endpoint.count - 1
    if x.endpoint.count == 0:
        if x.endpoint.failure is not None:
            return upstream_failed(x, F_NO_ADDRESS, x.endpoint.failure)
        x.state = X_RESOLVE
        return x.core.resolve(x.endpoint, x)
    if x.chain.before_proxy:
        x.ensure()
        x.phase = P_BEFORE_PROXY
        x.steps = x.chain.before_proxy
        x.step_index = 0
        return run_phases(x)
    return send_request(x)


@cython.cfunc
def stick(x: Exchange) -> cython.int:
    """The node that the client's cookie names, if it may be used; else -1."""
    node: cython.int = x.upstream.sticky.node(x)
    x.cookie = None
    x.stuck = node >= 0 and node not in x.upstream.passed_over
    if x.stuck and x.tried is not None and node in x.tried:
        x.stuck = False
    return node if x.stuck else -1


@cython.cfunc
def other_node(x: Exchange) -> cython.int:
    """Every node that may be picked has failed this request: one that is passed over, else from the beginning."""
    node: cython.int
    if len(x.upstream.passed_over):
        node = x.core.guards.last_resort(x.upstream, x.tried)
        if node >= 0:
            return node
    if x.upstream.retry is None:
        return -1
    x.tried = None
    return x.upstream.pick(x.key, None)


@cython.cfunc
def no_node(x: Exchange) -> cython.int:
    seconds: cython.double = 0
    if x.upstream.guard is not None:
        seconds = x.upstream.guard.closed_for(x.upstream)
    if seconds <= 0:
        return unserved(x, 502, "all upstream servers tried" if x.tried else "no upstream node has a weight")
    x.failure = "the breakers of all upstream nodes are open"
    headers = {"Content-Type": "text/html; charset=utf-8", "Retry-After": f"{int(seconds) + 1}"}
    return respond(x, Response(503, page(503), headers), 0)


@cython.cfunc
def unserved(x: Exchange, status: cython.int, reason: str) -> cython.int:
    if not x.shadow:
        x.core.guards.unserved(x.upstream.upstream.key, reason)
    return fail(x, status, reason)


@cython.cfunc
def resolved(x: Exchange) -> cython.int:
    """The endpoint's name was looked up, or could not be."""
    if x.state == X_RESOLVE and x.pause is None:
        x.core.poller.now = now_us()
        x.state = X_NEW
        x.addresses_left = x.endpoint.count - 1
        try:
            if x.endpoint.count == 0:
                upstream_failed(x, F_NO_ADDRESS, x.endpoint.failure or "no address")
            elif x.chain.before_proxy:
                x.ensure()
                x.phase = P_BEFORE_PROXY
                x.steps = x.chain.before_proxy
                x.step_index = 0
                run_phases(x)
            else:
                send_request(x)
        except Exception as error:
            x.core.poller.failed(x.down, error)
    return 0
