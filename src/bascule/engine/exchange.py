# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The exchange: one request and its response, from the parsed head to the log, whatever protocols carry it.

Life: start (normalise, match) -> phases rewrite, access -> connect (pick a node, before_proxy) -> sent -> response ->
done. The client's side (Downstream) and the upstream's side (Upstream) call in; errors of either end here and become
an answer, a retry, or a cut connection. Exchanges are used again: one in flight costs no allocation when no plugin
looks at it.
"""

import cython
from cython.cimports.bascule.engine.endpoint import Endpoint, UpstreamPlan
from cython.cimports.bascule.engine.forward import build_request
from cython.cimports.bascule.engine.plan import ChainPlan, RoutePlan, Step
from cython.cimports.bascule.engine.retry import RetryPlan
from cython.cimports.bascule.net.address import format_host
from cython.cimports.bascule.net.poller import now_us
from cython.cimports.bascule.net.stream import Stream
from cython.cimports.bascule.plugin.fields import field_name, field_value
from cython.cimports.bascule.plugin.request import Request
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.head import Head
from cython.cimports.bascule.wire.http1 import (
    FIELD_REMOVED,
    M_CONNECT,
    M_DELETE,
    M_GET,
    M_HEAD,
    M_OPTIONS,
    M_PUT,
    M_TRACE,
    Field,
    Parsed,
    name_is,
)
from cython.cimports.bascule.wire.target import normalise_path, path_is_plain
from cython.cimports.cpython.ref import Py_REFCNT
from cython.cimports.libc.stdlib import free, malloc, realloc
from cython.cimports.libc.string import memcpy

from bascule.engine.grpc_answer import trailers_only
from bascule.engine.held_body import HeldBody
from bascule.engine.pages import page
from bascule.engine.plan import HOLD, WHOLE, chain_plan, steps_of
from bascule.engine.retry import cause_of, retry_after
from bascule.engine.suspended import resumed
from bascule.engine.tls_clients import client_problem
from bascule.engine.tls_servers import bare_host
from bascule.engine.websocket_key import accept_of
from bascule.wire.proxy_protocol import build_proxy_header

REPLAY_LIMIT = cython.declare(cython.int, 131072)  # body bytes kept for a retry while no response has begun
# Methods that may be sent again after bytes of them went out, when no retry_policy says which.
IDEMPOTENT = cython.declare(
    cython.uint, 1 << M_GET | 1 << M_HEAD | 1 << M_PUT | 1 << M_DELETE | 1 << M_OPTIONS | 1 << M_TRACE
)
P_REWRITE, P_BROUGHT, P_ACCESS, P_BEFORE_PROXY, P_HOLD, P_WHOLE = 0, 1, 2, 3, 4, 5
SUSPENDED = object()
SOURCES = ("gateway", "plugin", "upstream")


class ClientGone(Exception):
    """The client closed its connection while a plugin waited for the request body."""


@cython.cclass
class Core:
    """What exchanges share: the interface of engine/server.py's Engine."""

    @cython.cfunc
    def http2_failed(self, reason: str) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def need_out(self, n: cython.int) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(check=False)
    def fresh_date(self) -> cython.int:
        return 0

    @cython.cfunc
    def acquire(self, x: Exchange, e: Endpoint, plan: UpstreamPlan) -> Upstream:
        raise NotImplementedError

    @cython.cfunc
    def plan_of(self, route: object) -> RoutePlan:
        raise NotImplementedError

    @cython.cfunc
    def plan_for(self, handle: object, route: object) -> UpstreamPlan:
        raise NotImplementedError

    @cython.cfunc
    def global_plan(self) -> ChainPlan:
        raise NotImplementedError

    @cython.cfunc
    def record(self, x: Exchange) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def count_failure(self, reason: str) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def resolve(self, e: Endpoint, x: Exchange) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def count_retry(self, cause: str) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def relay_of(self, x: Exchange) -> Relay:
        raise NotImplementedError

    @cython.cfunc
    def shed(self, kind: cython.int) -> object:
        raise NotImplementedError


@cython.cclass
class Downstream(Stream):
    """The interface of the client's side; engine/client.py speaks HTTP/1.1."""

    @cython.cfunc
    def interim(self, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def begin_response(
        self,
        x: Exchange,
        p: cython.p_const_char,
        m: cython.pointer(Parsed),
        body: cython.p_const_char,
        n: cython.Py_ssize_t,
    ) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def data(self, x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def end(self, x: Exchange) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def answer(self, x: Exchange, r: Response) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def resume(self) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def finished(self, x: Exchange) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def abort(self) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def tunnel(self, x: Exchange, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def more_body(self, x: Exchange) -> cython.int:
        raise NotImplementedError

    def server_address(self) -> str:
        raise NotImplementedError


@cython.cclass
class Tee:
    """The interface of engine/mirror.py's BodyTee."""

    @cython.cfunc
    def add(self, x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t, last: cython.bint) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def lost(self) -> cython.int:
        raise NotImplementedError


@cython.cclass
class Upstream(Stream):
    """The interface of the upstream's side; engine/upstream.py speaks HTTP/1.1."""

    @cython.cfunc
    def send_head(self, x: Exchange, p: cython.p_const_char, n: cython.int, last: cython.bint) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def send_body(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def send_chunk(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def end_body(self, chunked: cython.bint) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def begin(self, x: Exchange) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def pump(self) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def release(self) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def cancel(self) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def tunnel_pump(self) -> cython.int:
        raise NotImplementedError


@cython.cclass
class Relay(Handle):
    """The interface of what looks at a WebSocket's frames."""

    @cython.cfunc
    def from_client(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def from_upstream(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def end(self, code: cython.int, reason: str) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def stop(self) -> cython.int:
        raise NotImplementedError


@cython.cclass
class Exchange:
    def __cinit__(self):
        self.req = Head()
        self.resp = Head()
        self.held_want = -1

    def __dealloc__(self):
        free(self.path_buf)
        free(self.replay)

    def __repr__(self):
        return f"<exchange state={self.state} status={self.status} route={self.route!r} via {self.endpoint!r}>"

    @cython.cfunc
    @cython.exceptval(check=False)
    def reset(self) -> cython.void:
        """Back to what a new one is; buffers stay."""
        self.down = None
        self.up = None
        self.resp_kept = False
        self.route = None
        self.plan = None
        self.chain = None
        self.request = None
        self.response = None
        self.trace = None
        self.pattern = None
        self.host_pattern = None
        self.params = None
        self.state = X_NEW
        self.status = 0
        self.source = 0
        self.shadow = False
        self.websocket = False
        self.ws_key = None
        self.relay = None
        self.asked_body = False
        self.body_done = False
        self.body_sent = False
        self.continued = False
        self.recode = False
        if self.held is not None:
            self.held.close()
            self.held = None
        self.held_offset = 0
        self.held_want = -1
        self.held_waiter = None
        if self.replay != cython.NULL:
            free(self.replay)
            self.replay = cython.NULL
            self.replay_cap = 0
        self.replay_len = 0
        self.replay_lost = False
        self.body_bytes = 0
        self.holds_body = False
        self.request_trailers = None
        self.upstream = None
        self.endpoint = None
        self.key = None
        self.tried = None
        self.tries = None
        self.cookie = None
        self.no_pool = False
        self.pause = None
        self.body_mode = BODY_NONE
        self.response_done = False
        self.ahead = 0
        self.trailers = None
        self.upstream_status = 0
        self.filtering = False
        self.gathered = None
        self.task = None
        self.steps = None
        self.merged = None
        self.passed = None
        self.failure = None
        self.t_connect = 0
        self.t_sent = 0
        self.t_head = 0
        self.head_bytes = 0

    # ---- from the head to the upstream

    @cython.cfunc
    def refuse_head(self, status: cython.int) -> cython.int:
        m: cython.pointer(Parsed) = cython.address(self.req.m)
        core: Core = self.core
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
        self.has_body = False
        self.head_request = False
        return self.fail(status, "the request head is malformed" if status != 501 else "not implemented")

    @cython.cfunc
    def start(self) -> cython.int:
        """The head stands in self.req, parsed. Finds the route and sets out."""
        core: Core = self.core
        m: cython.pointer(Parsed) = cython.address(self.req.m)
        n: cython.int = m.path_len
        core.requests += 1
        core.exchanges += 1
        self.head_request = m.method == M_HEAD
        self.body_limit = core.max_body
        if m.method == M_CONNECT:
            return self.fail(405, "CONNECT is not served")
        if n == 0:
            self.path = b"/"
            self.path_len = 1
        elif path_is_plain(self.req.data + m.path_off, n) and core.path_flags == 0:
            self.path = self.req.data + m.path_off
            self.path_len = n
        else:
            if n + 1 > self.path_cap:
                free(self.path_buf)
                self.path_buf = cython.cast(cython.p_char, malloc(n + 1))
                self.path_cap = n + 1
            self.path_len = normalise_path(self.req.data + m.path_off, n, self.path_buf, core.path_flags)
            if self.path_len < 0:
                return self.fail(400, "the request path cannot be normalised")
            self.path = self.path_buf
        if core.challenges is not None:
            wanted = core.challenges.get(self.path[: self.path_len])
            if wanted is not None:
                return self.respond(Response(200, wanted, {"Content-Type": "application/octet-stream"}), 0)
        if core.asks_clients and self.down.secure:
            problem = client_problem(self.tls, core.tables.sni, self.host(), self.path[: self.path_len])
            if problem is not None:
                return self.fail(400, problem)
        if core.tables.broken_global is not None:
            return self.fail(503, f"a global rule is broken: {core.tables.broken_global}")
        return self.find_route()

    def host(self) -> str:
        """The host that the request is for, without port, lower-case."""
        m: cython.pointer(Parsed) = cython.address(self.req.m)
        text: bytes = self.req.data[m.host_off : m.host_off + (m.host_len if m.host_len > 0 else 0)]
        return bare_host(text.decode("latin-1"))

    @cython.cfunc
    def find_route(self) -> cython.int:
        core: Core = self.core
        m: cython.pointer(Parsed) = cython.address(self.req.m)
        host: cython.p_const_char = self.req.data + m.host_off
        k: cython.int = m.host_len if m.host_len > 0 else 0
        while k > 0 and 48 <= host[k - 1] <= 57:
            k -= 1
        if k > 1 and host[k - 1] == 58:
            k -= 1
        else:
            k = m.host_len if m.host_len > 0 else 0
        self.route = core.router.find(host, k, self.path, self.path_len, m.method, self)
        if self.asked_body and self.has_body and self.held is None:
            # A route's conditions go by the body: it is taken in, and the route looked for once more.
            self.route = None
            self.ensure()
            self.steps = HOLD
            self.step_index = 0
            self.phase = P_HOLD
            return self.run()
        if self.route is None:
            self.chain = core.global_plan()
            if m.debug >= 0:
                self.chain = self.traced(self.chain)
            if self.chain is None or not self.chain.has_any:
                return self.fail(404, "no route matches")
        else:
            self.params = core.router.params
            self.pattern = core.router.pattern
            self.host_pattern = core.router.host_pattern
            self.plan = core.plan_of(self.route)
            if core.shedding and self.held is None:
                shed = core.shed(self.plan.shed_class)
                if shed is not None:
                    self.failure = "the gateway is saturated"
                    return self.respond(shed, 0)
            if m.debug >= 0:
                self.chain = self.traced(None)  # for an answer before any plugin
            if self.plan.refusal is not None:
                return self.fail(503, self.plan.refusal)
            if self.plan.missing == 404:
                return self.fail(404, "the route's service does not exist")
            self.chain = self.plan.chain
            if m.debug >= 0:
                self.chain = self.traced(self.chain)
            if m.upgrade and self.plan.websocket and m.method == M_GET and not self.has_body:
                self.websocket = True
            elif self.ws_key is not None:
                self.failure = "WebSocket isn't enabled on the route"
                return self.respond(Response(400, {"error_msg": "WebSocket is not enabled on this route"}), 0)
            if not self.chain.has_any:
                return self.connect()
        self.ensure()
        self.steps = self.chain.rewrite
        self.step_index = 0
        self.phase = P_REWRITE
        return self.run()

    @cython.cfunc
    def traced(self, plan: ChainPlan) -> ChainPlan:
        """The request has a debug token. If it is valid: the same chain, taking notes."""
        f: cython.pointer(Field) = cython.address(self.req.m.fields[self.req.m.debug])
        token: bytes
        if self.trace is None:
            if self.core.open_trace is None:
                return plan
            token = self.req.data[f.value_off : f.value_off + f.value_len]
            self.trace = self.core.open_trace(token.decode("latin-1"))
            if self.trace is None:
                return plan
        return self.trace.plan(None if plan is None else plan.chain)

    @cython.ccall
    def ensure(self) -> Request:
        """The request as plugins see it; made at the first call."""
        rq: Request = self.request
        if rq is None:
            rq = Request.__new__(Request)
            rq.head = self.req
            rq.exchange = self
            self.request = rq
        if rq.route is None:
            rq.route = self.route
            rq.params = self.params
        return rq

    def var(self, name: str):
        """For the router's conditions."""
        return self.ensure().var(name)

    @cython.cfunc
    def run(self) -> cython.int:
        """Runs the present phase from step_index on, and the phases after it."""
        result: object
        while True:
            result = self.run_steps(self.steps, self.step_index)
            if result is SUSPENDED:
                self.state = X_PHASES
                return 0
            if self.down is None or self.state == X_DONE:
                return 0
            if result is not None:
                return self.respond(cython.cast(Response, result), 1)
            if self.next_phase():
                return 0

    @cython.cfunc
    def next_phase(self) -> cython.int:
        """Sets up the next phase; 1: there is none, the request went on its way."""
        rq: Request = self.request
        if self.phase == P_HOLD:
            self.steps = None
            self.find_route()
            return 1
        if (
            self.phase == P_REWRITE
            and rq.consumer is not None
            and rq.consumer is not self.merged
            and self.route is not None
        ):
            self.merged = rq.consumer
            if rq.consumer.plugins is not None:
                chain, brought = self.core.tables.consumer_chain(self.route, rq.consumer)
                self.chain = chain_plan(chain) if self.trace is None else self.trace.plan(chain)
                if brought:
                    self.steps = steps_of(brought if self.trace is None else self.trace.hooks("rewrite", brought))
                    self.step_index = 0
                    self.phase = P_BROUGHT
                    return 0
        if self.phase == P_REWRITE or self.phase == P_BROUGHT:
            if self.body_limit and self.req.m.content_length > self.body_limit:
                self.fail(413, "the request body is announced larger than the limit")
                return 1
            self.phase = P_ACCESS
            self.steps = self.chain.access
            self.step_index = 0
            return 0
        if self.phase == P_ACCESS:
            self.steps = None
            if self.route is None:
                self.fail(404, "no route matches")
            else:
                self.connect()
            return 1
        self.steps = None
        if self.phase == P_WHOLE:
            self.connect()
        else:
            self.send_request()
        return 1

    @cython.cfunc
    def run_steps(self, steps: list, i: cython.int):
        """None: all went by; a Response; or SUSPENDED."""
        step: Step
        rq: Request = self.request
        result: object
        n: cython.int = len(steps)
        while i < n:
            step = cython.cast(Step, steps[i])
            i += 1
            try:
                if step.bare:
                    result = step.call(rq)
                    if result is None:
                        continue
                else:
                    if step.filter is not None and not self.lets_pass(step):
                        continue
                    result = step.call(rq)
                    if result is None:
                        continue
                    if step.needs_task and hasattr(result, "send"):
                        self.suspended(step, i, result, None)
                        return SUSPENDED
                if type(result) is not Response and hasattr(result, "send"):
                    try:
                        first = result.send(None)
                    except StopIteration as done:
                        result = done.value
                        if result is None:
                            continue
                    else:
                        self.suspended(step, i, result, first)
                        return SUSPENDED
                return self.settle(step, result)
            except Exception as error:
                return self.hook_failed(step.plugin, error)
        return None

    def lets_pass(self, step: Step) -> bool:
        """_meta.filter of the step's plugin, evaluated once per request."""
        if self.passed is None:
            self.passed = {}
        known = self.passed.get(step.filter)
        if known is None:
            known = bool(step.filter(self.request))
            self.passed[step.filter] = known
        return known

    @cython.cfunc
    def settle(self, step: Step, result: object):
        """What a hook returned, as a Response or None."""
        if result is None:
            return None
        if type(result) is not Response:
            raise TypeError(f"a hook returns None or a Response, not {type(result).__name__}")
        if step.error_response is not None and cython.cast(Response, result).status >= 400:
            kept = [(n, v) for n, v in result.headers() if n.lower() not in ("content-type", "content-length")]
            return Response(result.status, step.error_response, kept)
        return result

    def hook_failed(self, plugin: str, error: BaseException):
        """A plugin's bug must not let the request pass: 500."""
        if getattr(error, "limit", None) is not None and type(error).__name__ == "BodyTooLarge":
            self.failure = str(error)
            return Response(413, page(413), {"Content-Type": "text/html; charset=utf-8"})
        if isinstance(error, ClientGone):
            return None
        self.core.log.error("plugin %s failed on route %s", plugin, getattr(self.route, "id", None), exc_info=error)
        self.failure = f"plugin {plugin} failed: {error!r}"
        return Response(500, {"error_msg": f"plugin {plugin} failed"})

    @cython.cfunc
    def suspended(self, step: Step, i: cython.int, coro: object, first: object) -> cython.int:
        """The hook waits for something: the rest of it, and of the chain, follows in a task."""
        self.step_index = i
        self.state = X_PHASES
        name = f"{step.plugin} {self.request!r}"
        self.task = self.core.loop.create_task(coro if step.needs_task else resumed(coro, first), name=name)
        self.task.add_done_callback(_Resume(self, step))
        return 0

    def resume_after(self, task, step):
        """The suspended hook has come to its end."""
        if self.task is not task or self.state == X_DONE:
            if not task.cancelled():
                task.exception()
            return
        self.task = None
        self.core.poller.now = now_us()
        self.state = X_NEW
        if task.cancelled():
            error = RuntimeError("its task was cancelled")
        else:
            error = task.exception()
        try:
            if error is not None:
                result = self.hook_failed(step.plugin, error)
            else:
                result = self.settle(step, task.result())
        except Exception as wrong:
            result = self.hook_failed(step.plugin, wrong)
        try:
            if result is not None:
                self.respond(result, 1)
            else:
                self.run()
        except Exception as wrong:
            self.core.poller.failed(self.down, wrong)

    # ---- upstream choice

    @cython.cfunc
    def connect(self) -> cython.int:
        """The phases are over: to the upstream."""
        rq: Request = self.request
        if self.body_limit and self.req.m.content_length > self.body_limit:
            return self.fail(413, "the request body is announced larger than the limit")
        if self.holds_body and not self.body_done and rq.body_out is None:
            self.holds_body = False
            self.steps = WHOLE
            self.step_index = 0
            self.phase = P_WHOLE
            return self.run()
        if rq is not None and rq.chosen is not None:
            self.upstream = self.core.plan_for(rq.chosen, self.route)
            if self.upstream is None:
                self.failure = f"failed to fetch upstream info by upstream id: {rq.chosen.id}"
                return self.respond(Response(500, {"error_msg": self.failure}), 0)
        elif self.plan.upstream is None:
            if self.plan.missing:
                return self.fail(self.plan.missing, "the route's upstream does not exist")
            return self.fail(503, "no upstream is configured on the route or its service")
        else:
            self.upstream = self.plan.upstream
        if self.upstream.count == 0:
            return self.unserved(503, "no valid upstream node")
        self.left = self.upstream.retries
        if self.upstream.retry is not None:
            self.upstream.retry.count(self.core.poller.now)
        if self.upstream.read_key is not None:
            self.key = self.upstream.read_key(self)
        self.t_connect = self.core.poller.now
        return self.attempt()

    @cython.cfunc
    def attempt(self) -> cython.int:
        """Picks a node and sends the request there."""
        self.told = False
        self.probing = False
        self.t_try = self.core.poller.now
        self.node = -1 if self.upstream.sticky is None else self.stick()
        if self.node < 0 and self.upstream.guard is not None and self.core.poller.now >= self.upstream.probe_at:
            self.node = self.upstream.guard.probe(self.upstream, self.tried)
            self.probing = self.node >= 0
        if self.node < 0:
            self.node = self.upstream.pick(self.key, self.tried)
            if self.upstream.stall_us:
                self.node = self.upstream.lively(self.node, self.key, self.tried, self.core.poller.now)
        if self.node < 0 and self.tried is not None:
            self.node = self.other_node()
        if self.node < 0:
            return self.no_node()
        if self.upstream.sticky is not None and not self.stuck:
            self.cookie = self.upstream.sticky.cookie(self.node, self.down.secure)
        self.endpoint = cython.cast(Endpoint, self.upstream.endpoints[self.node])
        self.addresses_left = self.endpoint.count - 1
        if self.endpoint.count == 0:
            if self.endpoint.failure is not None:
                return self.upstream_failed(F_NO_ADDRESS, self.endpoint.failure)
            self.state = X_RESOLVE
            return self.core.resolve(self.endpoint, self)
        if self.chain.before_proxy:
            self.ensure()
            self.phase = P_BEFORE_PROXY
            self.steps = self.chain.before_proxy
            self.step_index = 0
            return self.run()
        return self.send_request()

    @cython.cfunc
    def stick(self) -> cython.int:
        """The node that the client's cookie names, if it may be used; else -1."""
        node: cython.int = self.upstream.sticky.node(self)
        self.cookie = None
        self.stuck = node >= 0 and node not in self.upstream.passed_over
        if self.stuck and self.tried is not None and node in self.tried:
            self.stuck = False
        return node if self.stuck else -1

    @cython.cfunc
    def other_node(self) -> cython.int:
        """Every node that may be picked has failed this request: one that is passed over, else from the beginning."""
        node: cython.int
        if len(self.upstream.passed_over):
            node = self.core.guards.last_resort(self.upstream, self.tried)
            if node >= 0:
                return node
        if self.upstream.retry is None:
            return -1
        self.tried = None
        return self.upstream.pick(self.key, None)

    @cython.cfunc
    def no_node(self) -> cython.int:
        seconds: cython.double = 0
        if self.upstream.guard is not None:
            seconds = self.upstream.guard.closed_for(self.upstream)
        if seconds <= 0:
            return self.unserved(502, "all upstream servers tried" if self.tried else "no upstream node has a weight")
        self.failure = "the breakers of all upstream nodes are open"
        headers = {"Content-Type": "text/html; charset=utf-8", "Retry-After": f"{int(seconds) + 1}"}
        return self.respond(Response(503, page(503), headers), 0)

    @cython.cfunc
    def unserved(self, status: cython.int, reason: str) -> cython.int:
        if not self.shadow:
            self.core.guards.unserved(self.upstream.upstream.key, reason)
        return self.fail(status, reason)

    def resolution_done(self):
        """The endpoint's name was looked up, or could not be."""
        if self.state == X_RESOLVE and self.pause is None:
            self.core.poller.now = now_us()
            self.state = X_NEW
            self.addresses_left = self.endpoint.count - 1
            try:
                if self.endpoint.count == 0:
                    self.upstream_failed(F_NO_ADDRESS, self.endpoint.failure or "no address")
                elif self.chain.before_proxy:
                    self.ensure()
                    self.phase = P_BEFORE_PROXY
                    self.steps = self.chain.before_proxy
                    self.step_index = 0
                    self.run()
                else:
                    self.send_request()
            except Exception as error:
                self.core.poller.failed(self.down, error)

    @cython.cfunc
    def send_request(self) -> cython.int:
        core: Core = self.core
        rq: Request = self.request
        u: Upstream
        n: cython.int
        body: bytes = None if rq is None else rq.body_out
        m: cython.pointer(Parsed) = cython.address(self.req.m)
        u = core.acquire(self, self.endpoint, self.upstream)
        if u is None:
            return self.upstream_failed(F_CONNECT, "no connection could be opened")
        self.up = u
        u.x = self
        self.endpoint.active += 1
        if self.upstream.counts:
            self.upstream.balancer.on_start(self.node)
        if self.upstream.stall_us:
            self.awaits = True
            self.endpoint.await_answer(core.poller.now)
        if self.held is not None or self.tees is not None:
            self.recode = m.chunked != 0 and not self.body_done
        self.head_sent = self.head_request if rq is None or rq.method_out is None else rq.method_out == b"HEAD"
        if self.websocket and self.chain.inspects:
            self.plain_handshake()
        n = build_request(core, self)
        self.state = X_SENT
        self.t_sent = core.poller.now
        if u.send_head(self, core.out, n, not self.has_body and body is None) < 0:
            if u.connecting:
                return self.upstream_failed(F_CONNECT, "no connection could be made")
            return self.upstream_failed(F_CLOSED, "the request could not be sent")
        if body is not None:
            if (u.send_body(body, len(body)) < 0 or u.end_body(False) < 0) and self.upstream_deaf() < 0:
                return 0
            self.body_sent = self.has_body and self.body_done
        elif self.held is not None:
            self.held_offset = 0
            self.body_sent = False
        elif self.has_body and (self.replay_len or self.body_done):
            if self.replay_len and self.pass_body(self.replay, self.replay_len) < 0 and self.upstream_deaf() < 0:
                return 0
            if self.body_done:
                if u.end_body(self.recode) < 0 and self.upstream_deaf() < 0:
                    return 0
                self.body_sent = True
        u.begin(self)
        if self.upstream.retry is not None and self.upstream.retry.per_try_ms:
            self.time_try()
        if self.has_body and not self.body_sent and self.down is not None:
            self.down.resume()
        return 0

    # ---- request body

    @cython.cfunc
    @cython.exceptval(check=False)
    def wants_body(self) -> cython.bint:
        """Whether the client's side may read (and hand on) body bytes now."""
        if self.held_want >= 0:
            return True
        if self.state == X_SENT or self.state == X_RESPONSE:
            return self.up is None or self.up.wlen == 0
        return self.state == X_ANSWERED

    @cython.cfunc
    def push_held(self) -> cython.int:
        """Sends what was held of the body, as far as the upstream takes it. 1: all of it is out."""
        u: Upstream = self.up
        piece: bytes
        total: cython.longlong = self.held.size
        while self.held_offset < total:
            if u is None or u.wlen:
                return 0
            piece = self.held.piece(self.held_offset)
            if self.pass_body(piece, len(piece)) < 0:
                self.upstream_deaf()
                return 0
            self.held_offset += len(piece)
        if self.body_done and not self.body_sent:
            self.body_sent = True
            if self.up is not None and self.up.end_body(self.recode) < 0:
                self.upstream_failed(F_CLOSED, "the request body could not be sent")
                return 0
        return 1

    @cython.cfunc
    def body_in(
        self,
        p: cython.p_const_char,
        n: cython.Py_ssize_t,
        data: cython.p_const_char,
        k: cython.Py_ssize_t,
        last: cython.bint,
    ) -> cython.int:
        """Body bytes of the client: n as received (with their chunk framing), k of them data."""
        self.body_bytes += k
        if last:
            self.body_done = True
        if self.body_limit and self.body_bytes > self.body_limit and self.state < X_RESPONSE:
            self.drop_upstream()
            return self.fail(413, "the request body is larger than the limit")
        if self.tees is not None:
            self.tell_tees(data, k, last)
        if self.held_want >= 0:
            if k:
                self.held.append(data[:k])
            if last or cython.cast(cython.longlong, self.held.size) >= self.held_want:
                self.held.complete = last
                self.wake_holder()
            return 0
        if self.up is None or self.state == X_ANSWERED:  # nobody wants it any more
            if last:
                return self.request_body_end()
            return 0
        if self.request is not None and self.request.body_out is not None:
            if last:
                return self.request_body_end()
            return 0
        if self.recode or self.up.bare:
            if k and self.forward_body(data, k) < 0:
                return 0
        elif self.forward_body(p, n) < 0:
            return 0
        if last:
            if self.up is not None and self.up.end_body(self.recode) < 0 and self.upstream_deaf() < 0:
                return 0
            return self.request_body_end()
        return 0

    @cython.cfunc
    def tell_tees(self, p: cython.p_const_char, n: cython.Py_ssize_t, last: cython.bint) -> cython.int:
        """`p` may be NULL, for the end of what comes."""
        tees: list = self.tees
        tee: Tee
        self.tees = None
        for entry in tees:
            tee = cython.cast(Tee, entry)
            if p == cython.NULL:
                tee.lost()
            elif tee.add(self, p, n, last) == 0:
                if self.tees is None:
                    self.tees = []
                self.tees.append(tee)
        return 0

    @cython.cfunc
    def pass_body(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        return self.up.send_chunk(p, n) if self.recode else self.up.send_body(p, n)

    @cython.cfunc
    def forward_body(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        grown: cython.p_char
        if self.state == X_SENT and not self.replay_lost:
            if self.held is not None or self.replay_len + n > REPLAY_LIMIT:
                self.replay_lost = True
            else:
                if self.replay_len + n > self.replay_cap:
                    self.replay_cap = cython.cast(cython.int, self.replay_len + n + 2048)
                    grown = cython.cast(cython.p_char, realloc(self.replay, self.replay_cap))
                    if grown == cython.NULL:
                        raise MemoryError
                    self.replay = grown
                memcpy(self.replay + self.replay_len, p, n)
                self.replay_len += cython.cast(cython.int, n)
        if n and self.pass_body(p, n) < 0:
            return self.upstream_deaf()
        return 0

    @cython.cfunc
    def upstream_deaf(self) -> cython.int:
        """The upstream takes no more of the body; -1: the try has failed for good.

        Perhaps it has answered and closed: its answer is still to be read, and the rest of the body is read and
        dropped; it must not be taken for sent before it has come.
        """
        u: Upstream = self.up
        if (self.state == X_SENT or self.state == X_RESPONSE) and u.sent != u.mark:
            u.readable = True
            u.half_closed = True
            self.core.poller.later(u)
            return 0
        self.upstream_failed(F_CONNECT if u.connecting else F_CLOSED, "the request body could not be sent")
        return -1

    @cython.cfunc
    def request_body_end(self) -> cython.int:
        self.body_sent = True
        if self.response_done and self.state == X_RESPONSE:
            return self.finish()
        if self.state == X_ANSWERED:
            return self.finish()
        return 0

    def read_body(self, n: int):
        """plugin/exchange.py: holds at least n bytes, or all; at once where it can."""
        waiter = self.hold_body(n)
        return self.held.read() if waiter is None else self._held(waiter)

    def hold_body(self, n: int):
        """The same without a look at it: None when so much is held, else the Future that waits for it."""
        if self.held is None:
            self.held = HeldBody()
            if not self.has_body:
                self.body_done = True
                self.held.complete = True
        if self.body_done or self.held.size >= n:
            return None
        self.held_want = n
        self.down.more_body(self)  # what has arrived already may be enough
        if self.held_want < 0:
            return None
        self.held_waiter = self.core.loop.create_future()
        return self.held_waiter

    async def _held(self, waiter):
        await waiter
        return self.held.read()

    @cython.cfunc
    def wake_holder(self) -> cython.int:
        self.held_want = -1
        if self.held_waiter is not None:
            waiter = self.held_waiter
            self.held_waiter = None
            if not waiter.done():
                waiter.set_result(None)
        return 0

    def limit_body(self, n: int):
        """plugin/exchange.py: for this request instead of the limit for all."""
        self.body_limit = n
        return n == 0 or (self.req.m.content_length <= n and self.body_bytes <= n)

    def hold_whole_body(self):
        self.holds_body = True

    def buffer_response(self, n: int):
        if n > self.ahead or n == 0:
            self.ahead = n

    def held_body(self):
        if self.held is None:
            self.asked_body = True
            return None
        return self.held.read()

    # ---- failure of the upstream

    @cython.cfunc
    @cython.exceptval(check=False)
    def may_replay(self) -> cython.bint:
        """Whether the request can be sent again: its body is whole in our hands as far as it was sent."""
        return not self.has_body or not self.replay_lost

    @cython.cfunc
    def note_try(self, status: object) -> cython.int:
        began: cython.longlong = self.t_sent if self.t_sent > self.t_try else self.t_try  # nothing may have been sent
        if self.tries is None:
            self.tries = []
        self.tries.append((self.address_text(), status, f"{(self.core.poller.now - began) / 1e6:.3f}"))
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def waited(self) -> cython.double:
        """Seconds from the request to the response head; to now when none came."""
        came: cython.bint = self.t_head != 0 and self.t_head >= self.t_sent
        return ((self.t_head if came else self.core.poller.now) - self.t_sent) / 1e6

    @cython.cfunc
    def tell(self, status: cython.int, reason: cython.int, sent: cython.bint) -> cython.int:
        """Observers hear how this try went: `outcome(plan, node_index, status, reason, seconds)`, once, at the response
        head (its status) or at the failure (status 0, reason F_*); a try that the client gave up has no outcome.
        Not a failure: a pooled connection that had closed, and an address of the node's name when others are left."""
        seconds: cython.double = 0.0
        if self.told:
            return 0
        self.told = True
        if sent:
            seconds = (self.core.poller.now - self.t_sent + 1) / 1e6  # 0 means that no connection was begun
        for observer in self.upstream.observers:
            try:
                observer.outcome(self.upstream, self.node, status, reason, seconds)
            except Exception as error:
                self.core.log.error("internal error in %r", observer, exc_info=error)
        if self.probing and reason == 0 and self.upstream.guard is not None and not self.upstream.guard.asked_for:
            self.upstream.guard.outcome(self.upstream, self.node, status, 0, seconds)
        return 0

    @cython.cfunc
    def leave(self, ok: cython.bint) -> cython.int:
        """The try is over for its node."""
        self.endpoint.active -= 1
        if self.awaits:
            self.awaits = False
            self.endpoint.awaited -= 1
        if self.upstream.counts:
            self.upstream.balancer.on_finish(self.node, self.waited(), ok)
        return 0

    @cython.cfunc
    def heard(self) -> cython.int:
        """The node answers."""
        self.awaits = False
        self.endpoint.awaited -= 1
        self.endpoint.silent_since = self.core.poller.now
        return 0

    @cython.cfunc
    def tell_cut(self, reason: cython.int) -> cython.int:
        """Observers hear that the response was cut whose head they know: `cut(plan, node_index, reason)`."""
        for observer in self.upstream.observers:
            try:
                observer.cut(self.upstream, self.node, reason)
            except Exception as error:
                self.core.log.error("internal error in %r", observer, exc_info=error)
        return 0

    @cython.ccall
    def drop_upstream(self):
        """Gives the upstream connection up."""
        u: Upstream = self.up
        if u is not None:
            self.up = None
            u.x = None
            self.leave(False)
            u.cancel()

    @cython.cfunc
    def upstream_failed(self, reason: cython.int, detail: str) -> cython.int:
        """The try ended without a whole response: again elsewhere where that is safe, else an error or a cut."""
        core: Core = self.core
        u: Upstream = self.up
        retry: RetryPlan
        unsent: cython.bint = True
        stale: cython.bint = False
        silent: cython.bint = True
        repeats: cython.bint
        again: cython.bint
        status: cython.int
        if self.state == X_DONE or self.down is None:
            return 0
        retry = self.upstream.retry
        repeats = ((IDEMPOTENT if retry is None else retry.methods) >> self.req.m.method) & 1
        core.upstream_failures += not self.shadow
        if u is not None:
            if reason == F_CONNECT or reason == F_CONNECT_TIMEOUT:
                self.endpoint.mark_down(u.address_index, u.resolution, core.poller.now)
            unsent = u.sent == u.mark
            silent = u.received == u.mark_in
            stale = u.reused and silent and reason == F_CLOSED
            self.drop_upstream()
        if self.state == X_RESPONSE:
            if len(self.upstream.observers):
                self.tell_cut(reason)
            if not self.shadow:
                core.log.warning("upstream %s: response cut: %s", self.address_text(), detail)
            self.failure = detail
            return self.down.abort()
        if self.gathered is not None:  # the head came, and nothing of it has gone out
            self.gathered = None
            if len(self.upstream.observers):
                self.tell_cut(reason)
        status = 504 if reason == F_CONNECT_TIMEOUT or reason == F_READ_TIMEOUT or reason == F_SEND_TIMEOUT else 502
        again = self.may_replay() and self.state != X_ANSWERED
        if again and stale and (repeats or unsent):
            # RFC 9112, section 9.3.1: a pooled connection that closed before it answered; once more on a fresh one.
            core.retries += 1
            core.count_retry("stale")
            self.no_pool = True
            return self.send_request()
        if self.upstream.retry_timeout_us and core.poller.now - self.t_connect >= self.upstream.retry_timeout_us:
            again = False
        if again and u is not None and unsent and self.addresses_left > 0:
            self.note_try(str(status))
            self.addresses_left -= 1
            self.held_offset = 0
            core.log.warning("upstream %s: %s; trying another address", self.endpoint.host, detail)
            return self.send_request()
        if len(self.upstream.observers):
            self.tell(0, reason, u is not None)
        if self.upstream.guard is None or not self.upstream.guard.asked_for:
            core.guards.failed(self.upstream, self.node, reason, 0.0 if u is None else 1.0)
        if again and (repeats or unsent) and self.left > 0 and (silent if retry is None else retry.takes(reason)):
            if retry is None or retry.grant(core.poller.now):
                self.note_try(str(status))
                core.log.warning("upstream %s: %s; trying another node", self.address_text(), detail)
                return self.try_again(cause_of(reason), 0)
            core.count_retry("over budget")
        if not self.shadow:
            core.log.error("upstream %s: %s", self.address_text(), detail)
        if u is not None:
            self.upstream_status = status
        return self.fail(status, detail)

    @cython.cfunc
    def try_again(self, cause: str, wait_s: cython.double) -> cython.int:
        """The request goes out once more, elsewhere if there is another node; after wait_s seconds at least."""
        retry: RetryPlan = self.upstream.retry
        backoff_s: cython.double
        self.core.retries += 1
        self.core.count_retry(cause)
        self.left -= 1
        if self.tried is None:
            self.tried = set()
        self.tried.add(self.node)
        self.held_offset = 0
        if retry is not None:
            backoff_s = retry.wait(len(self.tries))
            if backoff_s > wait_s:
                wait_s = backoff_s
        if wait_s <= 0 and len(self.tries) % 32:  # now and then by way of the loop: tries may fail at once
            return self.attempt()
        self.state = X_RESOLVE
        self.pause = _Pause(self, wait_s)
        return 0

    def pause_over(self, pause):
        """The time before the next try has passed."""
        if self.pause is pause and self.state == X_RESOLVE:
            self.pause = None
            self.core.poller.now = now_us()
            self.state = X_NEW
            try:
                self.attempt()
            except Exception as error:
                self.core.poller.failed(self.down, error)

    @cython.cfunc
    def retries_status(self, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.bint:
        """Whether this response, of which the client has seen nothing, is dropped and the request sent once more."""
        core: Core = self.core
        retry: RetryPlan = self.upstream.retry
        now: cython.longlong = core.poller.now
        wait_s: cython.double = 0
        if self.left <= 0 or not retry.repeats(self.req.m.method) or not self.may_replay():
            return False
        if retry.retry_after_s >= 0 and (m.status == 429 or m.status == 503):
            wait_s = retry_after(p[: m.head_len])
            if wait_s > retry.retry_after_s:
                return False
        if self.upstream.retry_timeout_us and now - self.t_connect + wait_s * 1e6 >= self.upstream.retry_timeout_us:
            return False
        if not retry.grant(now):
            core.count_retry("over budget")
            return False
        if len(self.upstream.observers) or self.probing:
            self.tell(m.status, 0, True)
        self.note_try(str(m.status))
        core.log.warning("upstream %s: answered %d; trying again", self.address_text(), m.status)
        if self.awaits:
            self.heard()
        self.drop_upstream()
        self.try_again("status", wait_s)
        return True

    @cython.cfunc
    def time_try(self) -> cython.int:
        """Begins the time limit of a single try."""
        if self.timer is None:
            self.timer = TryTimer()
            self.timer.poller = self.core.poller
            self.timer.x = self
        self.timer.sending = False
        self.core.poller.arm(self.timer, self.upstream.retry.per_try_ms)
        return 0

    @cython.cfunc
    def try_timed_out(self) -> cython.int:
        u: Upstream = self.up
        if self.state != X_SENT or u is None:
            return 0
        if not u.connecting and self.has_body and (self.timer.sending or not self.body_sent):
            # The client is, or was, still sending, for which its own time limit holds.
            self.time_try()
            self.timer.sending = not self.body_sent
            return 0
        return self.upstream_failed(
            F_CONNECT_TIMEOUT if u.connecting else F_READ_TIMEOUT, "the try took longer than per_try_timeout"
        )

    # ---- the response

    @cython.cfunc
    def on_response_head(self, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
        """A final response head, parsed into self.resp: decides how its body goes on. 0: another answer went out."""
        r: Response
        down: Downstream = self.down
        bodyless: cython.bint
        if self.timer is not None:
            self.core.poller.disarm(self.timer)
        if self.ws_key is not None and 200 <= m.status < 300:
            self.upstream_failed(F_MALFORMED, f"the upstream answered {m.status} to the upgrade")
            return 0
        if self.upstream.retry is not None and self.upstream.retry.takes_status(m.status) and self.retries_status(p, m):
            return 0
        if self.awaits:
            self.heard()
        self.t_head = self.core.poller.now
        self.upstream_status = m.status
        self.status = m.status
        self.source = 2
        if len(self.upstream.observers) or self.probing:
            self.tell(m.status, 0, True)
        bodyless = self.head_request or m.status == 204 or m.status == 304
        self.filtering = False
        if self.chain.needs_response or self.cookie is not None:
            self.ensure()
            self.resp.copy(p, m.head_len)
            self.resp_kept = True
            r = Response.__new__(Response)
            r.head = self.resp
            r.status = m.status
            r.source = "upstream"
            self.response = r
            self.request.response = r
            if self.cookie is not None:
                r.added = [(b"Set-Cookie", self.cookie)]
            if not self.run_header_filters():
                return 0
            self.status = r.status
            bodyless = self.head_request or r.status == 204 or r.status == 304
            self.filtering = len(self.chain.body_filter) > 0 and not self.head_request
            if r.hold_limit > 0 and self.filtering and not bodyless:
                # Until it is whole, nothing has gone out: this still counts as waiting for the response.
                self.gathered = []
                self.gathered_size = 0
                self.body_mode = BODY_PLAIN
                return 1
        if bodyless:
            self.body_mode = BODY_NONE
        elif self.filtering:
            if self.response.body_length is not None and changing(self.chain.body_filter) == 1:
                cython.cast(object, self.response).remove_header("Content-Length")
                if self.response.added is None:
                    self.response.added = []
                self.response.added.append((b"Content-Length", b"%d" % self.response.body_length))
                self.body_mode = BODY_PLAIN
            elif (
                m.content_length >= 0
                and not self.head_sent
                and (self.response.length_kept or changing(self.chain.body_filter) == 0)
            ):
                self.body_mode = BODY_PLAIN
            else:
                self.body_mode = BODY_CHUNKED if down.takes_chunks else BODY_PLAIN
                cython.cast(object, self.response).remove_header("Content-Length")
                self.response.body_length = None
        elif self.head_sent:  # the client waits for a body, but only its head was asked for: an empty one
            self.body_mode = BODY_CHUNKED if down.takes_chunks else BODY_PLAIN
        elif m.content_length >= 0:
            self.body_mode = BODY_RAW
        elif m.chunked:
            self.body_mode = BODY_RAW if down.takes_chunks else BODY_PLAIN
        else:
            self.body_mode = BODY_CHUNKED if down.takes_chunks else BODY_PLAIN
        self.state = X_RESPONSE
        return 1

    @cython.cfunc
    def run_header_filters(self) -> cython.int:
        step: Step
        for entry in self.chain.header_filter:
            step = cython.cast(Step, entry)
            try:
                if step.filter is not None and not self.lets_pass(step):
                    continue
                step.call(self.request, self.response)
            except Exception as error:
                if self.source == 2 and self.state != X_ANSWERED:
                    answer = self.hook_failed(step.plugin, error)
                    self.drop_upstream()
                    self.chain = self.chain.without_filters
                    self.respond(answer, 0)
                    return 0
                self.hook_failed(step.plugin, error)
        return 1

    @cython.cfunc
    def on_response_data(self, p: cython.p_const_char, n: cython.Py_ssize_t, last: cython.bint) -> cython.int:
        """Body bytes of the upstream: in BODY_RAW with their framing, else decoded."""
        if self.gathered is not None:
            self.gather(p, n)
        elif self.filtering:
            self.filter_body(p[:n], last)
        elif n:
            self.down.data(self, p, n)
        return 0

    @cython.cfunc
    def filter_body(self, chunk: bytes, last: cython.bint) -> cython.int:
        step: Step
        came: list = None
        if last and self.source == 2:
            came = []
            if self.trailers is not None:
                came = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.trailers]
            self.response.trailers = came.copy()
        for entry in self.chain.body_filter:
            step = cython.cast(Step, entry)
            if step.filter is not None and not self.lets_pass(step):
                continue
            try:
                changed = step.call(self.request, self.response, chunk, bool(last))
            except Exception as error:
                self.hook_failed(step.plugin, error)
                self.failure = f"plugin {step.plugin} failed in body_filter"
                if self.state == X_RESPONSE:  # the head is out: all that is left is to cut the response
                    self.drop_upstream()
                    self.down.abort()
                    return -2
                if self.source == 2:
                    return -2
                continue
            if changed is not None:
                chunk = changed
        if came is not None and self.response.trailers != came:
            self.take_trailers(self.response.trailers)
        if self.state == X_RESPONSE and self.body_mode != BODY_NONE and len(chunk):
            self.down.data(self, chunk, len(chunk))
        elif self.state == X_ANSWERED:
            self.response.body = chunk
        return 0

    @cython.cfunc
    def take_trailers(self, changed: list) -> cython.int:
        """Plugins have changed them."""
        try:
            self.trailers = [(field_name(name).lower(), field_value(name, value)) for name, value in changed] or None
        except (TypeError, ValueError) as error:
            self.core.log.error("trailers of plugins on route %s can't be sent: %s", self.route.id, error)
        return 0

    @cython.cfunc
    def gather(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        """More of the body of a response that is held back."""
        self.gathered_size += n
        if self.gathered_size > self.response.hold_limit:
            detail = f"the response body is larger than {self.response.hold_limit} bytes"
            self.core.log.error("upstream %s: %s", self.address_text(), detail)
            self.gathered = None
            self.drop_upstream()
            return self.fail(502, detail)
        if n:
            self.gathered.append(p[:n])
        return 0

    @cython.cfunc
    def answer_gathered(self) -> cython.int:
        """The response is whole: plugins see all of it, then it goes out as an answer does."""
        r: Response = self.response
        u: Upstream = self.up
        body: bytes = b"".join(self.gathered)
        self.gathered = None
        self.up = None
        u.x = None
        self.leave(True)
        if self.body_sent_or_none():
            u.release()
        else:
            u.cancel()
        self.state = X_ANSWERED
        if self.filter_body(body, True) < 0:
            self.state = X_SENT
            self.trailers = None
            self.chain = self.chain.without_filters
            return self.respond(Response(500, {"error_msg": self.failure}), 0)
        cython.cast(object, r).detach()
        self.status = r.status
        return self.down.answer(self, r)

    @cython.cfunc
    def response_end(self) -> cython.int:
        """The upstream's response is complete (and its last bytes went to the client's side)."""
        self.response_done = True
        if self.gathered is not None:
            return self.answer_gathered()
        if self.down.end(self) < 0:
            return 0
        if self.has_body and not self.body_sent and not (self.req.m.expect_continue and not self.continued):
            return 0  # the request body still flows: keep on passing it
        return self.finish()

    @cython.cfunc
    def plain_handshake(self) -> cython.int:
        """Somebody will look at the frames: what isn't to be a WebSocket stays a plain request, and no extension may
        change what frames look like."""
        i: cython.int = self.req.find_any(b"upgrade", 7, 0)
        if i >= 0 and self.req.value(i).lower() != "websocket":
            self.websocket = False
            return 0
        i = self.req.find(b"sec-websocket-extensions", 24, 0)
        while i >= 0:
            self.req.m.fields[i].flags |= FIELD_REMOVED
            i = self.req.find(b"sec-websocket-extensions", 24, i + 1)
        return 0

    @cython.cfunc
    def handshake_hooks(self, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
        """1: nobody objects; 0: another answer went out."""
        step: Step
        r: Response
        self.ensure()
        self.resp.copy(p, m.head_len)
        if self.resp.find(b"sec-websocket-extensions", 24, 0) >= 0:
            self.upstream_failed(F_MALFORMED, "the upstream answered with WebSocket extensions that nobody asked for")
            return 0
        r = Response.__new__(Response)
        r.head = self.resp
        r.status = m.status
        r.source = "upstream"
        self.request.response = r
        for entry in self.chain.ws_handshake:
            step = cython.cast(Step, entry)
            try:
                if step.filter is not None and not self.lets_pass(step):
                    continue
                result = self.settle(step, step.call(self.request))
            except Exception as error:
                result = self.hook_failed(step.plugin, error)
            if result is not None:
                self.respond(cython.cast(Response, result), 1)
                return 0
        return 1

    @cython.cfunc
    def switch(self, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
        """The upstream has switched protocols: from here on bytes flow both ways, until either side, the time limit or
        the end of the route ends it. 0: that was refused, and another answer went out."""
        plan: RoutePlan = self.plan
        if self.ws_key is not None:
            self.resp.copy(p, m.head_len)
            if (self.resp.header("sec-websocket-accept") or "").strip() != accept_of(self.ws_key):
                self.upstream_failed(F_MALFORMED, "the upstream's Sec-WebSocket-Accept doesn't answer the key")
                return 0
        if self.chain.inspects and not self.handshake_hooks(p, m):
            return 0
        self.idle_ms = plan.ws_idle_ms if plan.ws_idle_ms else self.upstream.read_ms
        if self.chain.ws_client or self.chain.ws_upstream or plan.ws_idle_ms or plan.ws_lifetime_ms or plan.ws_ping_ms:
            self.relay = self.core.relay_of(self)
        if self.awaits:
            self.heard()
        self.status = 101
        self.source = 2
        self.upstream_status = 101
        if len(self.upstream.observers) or self.probing:
            self.tell(101, 0, True)
        self.t_head = self.core.poller.now
        self.state = X_TUNNEL
        self.core.tunnels.setdefault(self.route.id, set()).add(self)
        return 1

    @cython.ccall
    def cut(self):
        """Ends a tunnel: its route is gone, or the worker goes."""
        if self.state == X_TUNNEL:
            if self.relay is not None:
                self.relay.end(1001, "going away")
            else:
                self.down.abort()

    @cython.cfunc
    def respond(self, r: Response, source: cython.int) -> cython.int:
        """Answers from here: a plugin's response (source 1) or an error of the gateway's (0)."""
        if r.status >= 400 and self.asks_grpc():
            r = trailers_only(r)
        self.source = source
        r.source = cython.cast(str, SOURCES[source])
        self.drop_upstream()
        self.held_want = -1
        self.response = r
        self.status = r.status
        self.state = X_ANSWERED
        if self.chain is not None and self.chain.needs_response:
            self.ensure()
            self.request.response = r
            if self.chain.header_filter:
                self.run_header_filters()
            if self.chain.body_filter:
                self.filter_body(r.body, True)
        self.status = r.status
        return self.down.answer(self, r)

    @cython.cfunc
    @cython.exceptval(check=False)
    def asks_grpc(self) -> cython.bint:
        """Whether the request is a gRPC call: its content type is application/grpc or application/grpc+something."""
        i: cython.int = self.req.find(b"content-type", 12, 0)
        p: cython.p_const_char
        n: cython.int
        if i < 0:
            return False
        p = self.req.data + self.req.m.fields[i].value_off
        n = self.req.m.fields[i].value_len
        return n >= 16 and name_is(p, b"application/grpc", 16) and (n == 16 or p[16] == b"+" or p[16] == b";")

    @cython.cfunc
    def fail(self, status: cython.int, reason: str) -> cython.int:
        """An error answer of the gateway's own."""
        if self.state == X_RESPONSE or self.state == X_TUNNEL:
            return self.down.abort()
        if self.state == X_ANSWERED or self.state == X_DONE:
            return 0
        self.failure = reason
        if status == 400 or status == 408 or status == 413:
            self.down.close_after = True  # what else this client sends is not to be trusted, or not to be waited for
        if status == 404:
            return self.respond(Response(404, {"error_msg": "404 Route Not Found"}), 0)
        return self.respond(Response(status, page(status), {"Content-Type": "text/html; charset=utf-8"}), 0)

    # ---- the end

    @cython.cfunc
    def client_gone(self) -> cython.int:
        """The client's connection is closed."""
        if self.state == X_DONE:
            return 0
        if self.status == 0 or self.state < X_RESPONSE:
            self.status = 499
            self.source = 0
        return self.finish()

    @cython.cfunc
    def finish(self) -> cython.int:
        """Logs, returns the upstream connection, lets the client's side go on."""
        core: Core = self.core
        u: Upstream = self.up
        down: Downstream = self.down
        step: Step
        if self.state == X_DONE:
            return 0
        self.t_end = core.poller.now
        if u is not None:
            self.up = None
            u.x = None
            self.leave(self.upstream_status != 0)
            if self.response_done and self.body_sent_or_none() and self.state == X_RESPONSE:
                u.release()
            else:
                u.cancel()
        if self.state == X_TUNNEL:
            others: set = self.core.tunnels[self.route.id]
            others.discard(self)
            if not others:
                del self.core.tunnels[self.route.id]
            if self.relay is not None:
                self.relay.stop()
                self.relay = None
        if self.timer is not None:
            core.poller.disarm(self.timer)
        if self.state == X_RESOLVE:
            self.stop_waiting()
        self.state = X_DONE
        if self.held_waiter is not None:
            waiter = self.held_waiter
            self.held_waiter = None
            if not waiter.done():
                waiter.set_exception(ClientGone("the client closed the connection"))
                waiter.exception()  # who waits may be cancelled before it looks: nobody's loss
        if self.task is not None:
            self.task.cancel()
        if self.tees is not None:
            self.tell_tees(cython.NULL, 0, True)
        if self.shadow:
            self.down = None
            down.finished(self)
            self.recycle()
            return 0
        core.exchanges -= 1
        if self.chain is not None and self.chain.log:
            self.ensure()
            for entry in self.chain.log:
                step = cython.cast(Step, entry)
                try:
                    if step.filter is None or self.lets_pass(step):
                        step.call(self.request)
                except Exception as error:
                    core.log.error("plugin %s failed in its log phase", step.plugin, exc_info=error)
        core.record(self)
        if self.status >= 100 and self.status < 600:
            core.by_class[self.status // 100] += 1
        self.down = None
        if down is not None:
            down.finished(self)
        self.recycle()
        return 0

    def stop_waiting(self):
        if self.pause is not None:
            self.pause.cancel()
        elif self in self.endpoint.waiters:
            self.endpoint.waiters.remove(self)

    def body_sent_or_none(self) -> bool:
        return not self.has_body or self.body_sent

    def recycle(self):
        """Into the spare list, unless a plugin still holds the request (and so the head's bytes)."""
        if self.task is not None:
            return
        if self.request is not None:
            if Py_REFCNT(self.request) > 2:  # ours, and the one that the call itself holds
                return
            self.request.exchange = None
        if len(self.core.spare) < 256:
            self.reset()
            self.core.spare.append(self)

    # ---- what plugins and logs ask

    def find_consumer(self, plugin: str, key: str):
        return self.core.tables.find_consumer(plugin, key)

    def find_consumer_by_name(self, name: str):
        return self.core.tables.find_consumer_by_name(name)

    @property
    def remote_addr(self):
        down: Downstream = self.down
        if down is None:
            return ""
        if down.host_str is None:
            down.host_str = "unix:" if down.is_unix else down.host_text[: down.host_len].decode("ascii")
        return down.host_str

    @property
    def remote_port(self):
        return 0 if self.down is None else self.down.peer_port

    @property
    def server_addr(self):
        return "" if self.down is None else self.down.server_address()

    @property
    def server_port(self):
        return 0 if self.down is None else self.down.local_port

    @property
    def proxied(self):
        """The PROXY header (wire/proxy_protocol.py) that the connection began with, or None."""
        return None if self.down is None else self.down.proxied

    @property
    def tls(self):
        """The client's TLS connection (net/tls.py), or None."""
        if self.down is None:
            return None
        return self.down.tls if self.down.quic is None else self.down.quic

    @property
    def scheme(self):
        return "https" if self.down is not None and self.down.secure else "http"

    def proxy_header(self, version: int) -> bytes:
        """The PROXY header that tells an upstream who the client is and where it came to."""
        client = self if self.request is None else self.request
        return build_proxy_header(version, client.remote_addr, client.remote_port, self.server_addr, self.server_port)

    def address_text(self) -> str:
        """The node's address as used, "ip:port"."""
        text: cython.char[64]
        n: cython.int
        e: Endpoint = self.endpoint
        if e is None:
            return ""
        if e.host.startswith("unix:"):
            return e.host
        if e.count == 0:
            return f"{e.host}:{e.port}"
        n = e.next - 1
        if self.up is not None:
            n = self.up.address_index
        if n < 0 or n >= e.count:
            n = 0
        n = format_host(cython.address(e.addresses[n]), text)
        host = text[:n].decode("ascii")
        return f"[{host}]:{e.port}" if ":" in host else f"{host}:{e.port}"

    def variable(self, name: str):
        """The gateway's own variables; None: unknown, or nothing to say yet."""
        from bascule.engine.exchange_variables import VARIABLES

        read = VARIABLES.get(name)
        return None if read is None else read(self)

    def record(self) -> tuple:
        """plugin/exchange.py's Record."""
        e: Endpoint = self.endpoint
        now: cython.longlong = self.t_end if self.state == X_DONE else self.core.poller.now
        sent: cython.longlong = self.sent_before
        if self.down is not None:
            sent = self.down.total_sent() - self.sent_before
        node = None
        if e is not None:
            node = e.host if e.literal else self.address_text().rpartition(":")[0].strip("[]")
        return (
            self.status,
            SOURCES[self.source],
            node,
            self.pattern,
            self.host_pattern,
            now - self.t_start,
            (now - self.t_sent) if self.t_sent else None,
            self.req.m.head_len + self.body_bytes,
            sent,
        )

    def facts(self) -> dict:
        """Numbers of this exchange for exchange_variables.py and the tests; times in us."""
        now: cython.longlong = self.t_end if self.state == X_DONE else self.core.poller.now
        down: Downstream = self.down
        sent: cython.longlong = 0
        if down is not None:
            sent = down.total_sent() - self.sent_before
        else:
            sent = self.sent_before  # finish() leaves the total here
        return {
            "status": self.status,
            "source": SOURCES[self.source],
            "upstream_status": self.upstream_status,
            "sent": sent,
            "head_bytes": self.head_bytes,
            "request_length": self.req.m.head_len + self.body_bytes,
            "request_us": now - self.t_start,
            "connect_us": (self.t_sent - self.t_connect) if self.t_sent else None,
            "header_us": (self.t_head - self.t_sent) if self.t_head else None,
            "response_us": (now - self.t_sent) if self.t_sent else None,
            "endpoint": self.endpoint,
            "tries": self.tries,
            "pattern": self.pattern,
            "host_pattern": self.host_pattern,
            "failure": self.failure,
            "connection_requests": 0 if down is None else down.served,
        }

    @property
    def upstream_config(self):
        return None if self.upstream is None else self.upstream.upstream

    @property
    def node_index(self):
        return self.node

    @property
    def finished(self):
        return self.state == X_DONE


class _Resume:
    """Done-callback that goes on with an exchange."""

    __slots__ = ("exchange", "step")

    def __init__(self, exchange, step):
        self.exchange = exchange
        self.step = step

    def __call__(self, task):
        self.exchange.resume_after(task, self.step)


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
        self.exchange.pause_over(self)

    def cancel(self):
        self.timer.cancel()


@cython.cclass
class TryTimer(Handle):
    @cython.cfunc
    def on_timeout(self) -> cython.int:
        return self.x.try_timed_out()


@cython.cfunc
def fresh(core: Core) -> Exchange:
    """A spare one, or a new one."""
    x: Exchange
    if len(core.spare):
        return cython.cast(Exchange, core.spare.pop())
    x = Exchange()
    x.core = core
    return x


@cython.cfunc
def last_chunk(trailers: list | None) -> bytes:
    if trailers is None:
        return b"0\r\n\r\n"
    return b"0\r\n" + b"".join([name + b": " + value + b"\r\n" for name, value in trailers]) + b"\r\n"


@cython.cfunc
def changing(steps: list) -> cython.int:
    """How many body filters may change the body."""
    n: cython.int = 0
    for entry in steps:
        if not cython.cast(Step, entry).observes_body:
            n += 1
    return n
