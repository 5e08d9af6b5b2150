# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""From the head of a request to its route: the path made canonical, what is refused at once, the chain of plugins."""

import cython
from cython.cimports.bascule.engine.ending import fail, respond
from cython.cimports.bascule.engine.exchange import P_HOLD, P_REWRITE, Exchange
from cython.cimports.bascule.engine.node_choice import connect
from cython.cimports.bascule.engine.parties import Core
from cython.cimports.bascule.engine.phases import run_phases
from cython.cimports.bascule.engine.plan import ChainPlan
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.http1 import (
    FIELD_FORWARDED,
    FIELD_REMOVED,
    M_CONNECT,
    M_GET,
    M_HEAD,
    Field,
    Parsed,
)
from cython.cimports.bascule.wire.target import normalise_path, path_is_plain
from cython.cimports.libc.stdlib import free, malloc

from bascule.engine.plan import HOLD
from bascule.engine.tls_clients import client_problem
from bascule.engine.tls_servers import bare_host


@cython.cfunc
def refuse_head(x: Exchange, status: cython.int) -> cython.int:
    m: cython.pointer(Parsed) = cython.address(x.req.m)
    core: Core = x.core
    core.refused_heads += 1
    core.exchanges += 1
    core.requests += 1
    m.nfields = 0
    m.head_len = 0
    m.host_len = -1
    m.minor = 1
    m.method = 0
    m.method_len = 0
    m.target_len = m.path_len = 0
    m.query_len = -1
    m.first_line_end = 0
    m.xff = -1
    x.has_body = False
    x.head_request = False
    return fail(x, status, "the request head is malformed" if status != 501 else "not implemented")


@cython.cfunc
def start(x: Exchange) -> cython.int:
    """The head stands in x.req, parsed. Finds the route and sets out."""
    core: Core = x.core
    m: cython.pointer(Parsed) = cython.address(x.req.m)
    n: cython.int = m.path_len
    core.requests += 1
    core.exchanges += 1
    x.head_request = m.method == M_HEAD
    x.body_limit = core.max_body
    if core.trusted is not None:
        hide_forwarded(x)
    if m.method == M_CONNECT:
        return fail(x, 405, "CONNECT is not served")
    if n == 0:
        x.path = b"/"
        x.path_len = 1
    elif path_is_plain(x.req.data + m.path_off, n) and core.path_flags == 0:
        x.path = x.req.data + m.path_off
        x.path_len = n
    else:
        if n + 1 > x.path_cap:
            free(x.path_buf)
            x.path_buf = cython.cast(cython.p_char, malloc(n + 1))
            x.path_cap = n + 1
        x.path_len = normalise_path(x.req.data + m.path_off, n, x.path_buf, core.path_flags)
        if x.path_len < 0:
            return fail(x, 400, "the request path cannot be normalised")
        x.path = x.path_buf
    if core.challenges is not None:
        wanted = core.challenges.get(x.path[: x.path_len])
        if wanted is not None:
            return respond(x, Response(200, wanted, {"Content-Type": "application/octet-stream"}), 0)
    if core.asks_clients and x.down.secure:
        problem = client_problem(x.tls, core.tables.sni, asked_host(x), x.path[: x.path_len])
        if problem is not None:
            return fail(x, 400, problem)
    if core.tables.broken_global is not None:
        return fail(x, 503, f"a global rule is broken: {core.tables.broken_global}")
    return find_route(x)


@cython.cfunc
def hide_forwarded(x: Exchange) -> cython.int:
    """From routes and plugins, what a peer that isn't trusted says of others in X-Forwarded-*."""
    m: cython.pointer(Parsed) = cython.address(x.req.m)
    i: cython.int
    if cython.cast(bytes, x.down.host_text[: x.down.host_len]).decode() in x.core.trusted:
        return 0
    for i in range(m.nfields):
        if m.fields[i].flags & FIELD_FORWARDED and m.fields[i].name_len > 9:  # longer than X-Real-IP and Forwarded
            m.fields[i].flags |= FIELD_REMOVED
    return 0


@cython.cfunc
def asked_host(x: Exchange) -> str:
    """The host that the request is for, without port, lower-case."""
    m: cython.pointer(Parsed) = cython.address(x.req.m)
    text: bytes = x.req.data[m.host_off : m.host_off + (m.host_len if m.host_len > 0 else 0)]
    return bare_host(text.decode("latin-1"))


@cython.cfunc
def find_route(x: Exchange) -> cython.int:
    core: Core = x.core
    m: cython.pointer(Parsed) = cython.address(x.req.m)
    host: cython.p_const_char = x.req.data + m.host_off
    k: cython.int = m.host_len if m.host_len > 0 else 0
    while k > 0 and 48 <= host[k - 1] <= 57:
        k -= 1
    if k > 1 and host[k - 1] == 58:
        k -= 1
    else:
        k = m.host_len if m.host_len > 0 else 0
    x.route = core.router.find(host, k, x.path, x.path_len, m.method, x)
    if x.asked_body and x.has_body and x.held is None:
        # A route's conditions go by the body: it is taken in, and the route looked for once more.
        x.route = None
        x.ensure()
        x.steps = HOLD
        x.step_index = 0
        x.phase = P_HOLD
        return run_phases(x)
    if x.route is None:
        x.chain = core.global_plan()
        if m.debug >= 0:
            x.chain = traced(x, x.chain)
        if x.chain is None or not x.chain.has_any:
            return fail(x, 404, "no route matches")
    else:
        x.params = core.router.params
        x.pattern = core.router.pattern
        x.host_pattern = core.router.host_pattern
        x.plan = core.plan_of(x.route)
        if core.shedding and x.held is None:
            shed = core.shed(x.plan.shed_class)
            if shed is not None:
                x.failure = "the gateway is saturated"
                return respond(x, shed, 0)
        if m.debug >= 0:
            x.chain = traced(x, None)  # for an answer before any plugin
        if x.plan.refusal is not None:
            return fail(x, 503, x.plan.refusal)
        if x.plan.missing == 404:
            return fail(x, 404, "the route's service does not exist")
        x.chain = x.plan.chain
        if m.debug >= 0:
            x.chain = traced(x, x.chain)
        if m.upgrade and x.plan.websocket and m.method == M_GET and not x.has_body:
            x.websocket = True
        elif x.ws_key is not None:
            x.failure = "WebSocket isn't enabled on the route"
            return respond(x, Response(400, {"error_msg": "WebSocket is not enabled on this route"}), 0)
        if not x.chain.has_any:
            return connect(x)
    x.ensure()
    x.steps = x.chain.rewrite
    x.step_index = 0
    x.phase = P_REWRITE
    return run_phases(x)


@cython.cfunc
def traced(x: Exchange, plan: ChainPlan | None) -> ChainPlan:
    """The request has a debug token. If it is valid: the same chain, taking notes."""
    f: cython.pointer(Field) = cython.address(x.req.m.fields[x.req.m.debug])
    token: bytes
    if x.trace is None:
        if x.core.open_trace is None:
            return plan
        token = x.req.data[f.value_off : f.value_off + f.value_len]
        x.trace = x.core.open_trace(token.decode("latin-1"))
        if x.trace is None:
            return plan
    return x.trace.plan(None if plan is None else plan.chain)
