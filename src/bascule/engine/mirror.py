# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Copies of requests to another host: exchanges of their own, over the engine's own connections, with nobody on the
client's side. What becomes of a copy never touches the request that it is one of.
"""

import cython
from cython.cimports.bascule.engine.ending import client_gone, finish
from cython.cimports.bascule.engine.exchange import X_DONE, X_NEW, Exchange, fresh
from cython.cimports.bascule.engine.node_choice import attempt
from cython.cimports.bascule.engine.parties import Core, StandIn, Tee
from cython.cimports.bascule.plugin.request import Request
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.http1 import Parsed

from bascule.engine.plan import ChainPlan
from bascule.snapshot.chain import Chain

MOST_GATHERED = cython.declare(cython.longlong, 64 << 20)  # bytes of bodies of copies in this worker, gathered or sent
MOST_DROPPED = cython.declare(cython.longlong, 1 << 20)  # of an answer's body; a longer one ends the connection
NO_PLUGINS = ChainPlan(Chain())


@cython.cclass
class Mirror:
    def __init__(self, core, make_plan, told, most, body_limit):
        """`told(result, detail)`: "answered", "failed" and why, "busy": too many are under way, or too many bytes of
        them, "body": it is too long, or never came whole."""
        self.core = core
        self.make_plan = make_plan
        self.told = told
        self.most = most
        self.body_limit = body_limit

    def __repr__(self):
        return f"<mirror {self.plan!r} under_way={self.under_way}>"

    def copy(self, request: Request, target: str):
        """Sends a copy of the request as it goes upstream, to this target: now, or when its body is whole."""
        x: Exchange = request.exchange
        tee: BodyTee
        if x.websocket:
            return
        if self.under_way >= self.most:
            self.told("busy", None)
        elif request.body_out is not None:
            self.go(x, target.encode("latin-1"), host_of(x), request.body_out)
        elif not x.has_body:
            self.go(x, target.encode("latin-1"), host_of(x), None)
        elif x.req.m.content_length > self.body_limit or (x.held is not None and x.held.size > self.body_limit):
            self.told("body", None)
        elif x.body_done and x.held is not None:
            self.go(x, target.encode("latin-1"), host_of(x), x.held.read())
        elif x.held is not None and self.core.gathered + x.held.size > MOST_GATHERED:
            self.told("busy", None)
        elif not x.body_done:
            tee = BodyTee()
            tee.mirror = self
            tee.target = target.encode("latin-1")
            tee.host = host_of(x)
            tee.gathered = bytearray() if x.held is None else bytearray(x.held.read())
            self.core.gathered += len(tee.gathered)
            if x.tees is None:
                x.tees = []
            x.tees.append(tee)

    @cython.cfunc
    def go(self, x: Exchange, target: bytes, host: bytes, body: bytes) -> cython.int:
        core: Core = self.core
        y: Exchange
        rq: Request = x.request
        own: Request = Request.__new__(Request)
        nobody: Nobody = Nobody()
        m: cython.pointer(Parsed) = cython.address(x.req.m)
        if self.under_way >= self.most or (body is not None and core.gathered + len(body) > MOST_GATHERED):
            self.told("busy", None)
            return 0
        if self.plan is None or self.generation != core.generation:
            self.plan = self.make_plan()
            self.generation = core.generation
        nobody.mirror = self
        nobody.stand_for(x.down)
        if body is not None:
            nobody.held = len(body)
            core.gathered += nobody.held
        y = fresh(core)
        y.req.m = m[0]
        y.req.copy(x.req.data, m.head_len)
        own.head = y.req
        own.exchange = y
        own.added = None if rq.added is None else rq.added.copy()
        own.method_out = rq.method_out
        own.target_out = target
        own.host_out = host
        own.client_addr = rq.client_addr
        own.body_out = body
        y.request = own
        y.shadow = True
        y.state = X_NEW
        y.down = nobody
        nobody.x = y
        y.chain = cython.cast(object, NO_PLUGINS)
        y.head_request = x.head_request
        y.has_body = False
        y.body_done = True
        y.continued = True  # Expect is not for it
        y.upstream = self.plan
        y.left = 0
        y.t_start = y.t_connect = core.poller.now
        self.under_way += 1
        try:
            attempt(y)
        except Exception as error:
            core.poller.failed(nobody, error)
        if y.state == X_DONE:  # at once, so that it wasn't taken back: no cycle may keep it
            own.exchange = None
        return 0


@cython.cfunc
def host_of(x: Exchange) -> bytes:
    """The Host that the upstream is sent, None: the client's. Asked for early: after all tries there is no node."""
    host: bytes = x.request.host_out
    if host is None and x.upstream.pass_host:
        host = x.upstream.rewrite_host if x.upstream.pass_host == 2 else x.upstream.node_host(x.node)
    return host


@cython.cclass
class BodyTee(Tee):
    @cython.cfunc
    def add(self, x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t, last: cython.bint) -> cython.int:
        core: Core = self.mirror.core
        if len(self.gathered) + n > self.mirror.body_limit:
            return self.give_up("body")
        if core.gathered + n > MOST_GATHERED:
            return self.give_up("busy")
        if n:
            self.gathered += p[:n]
            core.gathered += n
        if last:
            core.gathered -= len(self.gathered)
            self.mirror.go(x, self.target, self.host, bytes(self.gathered))
            self.gathered = None
            return -1
        return 0

    @cython.cfunc
    def lost(self) -> cython.int:
        self.give_up("body")
        return 0

    @cython.cfunc
    def give_up(self, result: str) -> cython.int:
        self.mirror.core.gathered -= len(self.gathered)
        self.gathered = None
        self.mirror.told(result, None)
        return -1


@cython.cclass
class Nobody(StandIn):
    def __repr__(self):
        return f"<nobody at {self.x!r}>"

    @cython.cfunc
    def on_failure(self) -> cython.int:
        return self.abort()

    @cython.cfunc
    def data(self, x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        self.dropped += n
        if self.dropped > MOST_DROPPED:
            return client_gone(x)
        return 0

    @cython.cfunc
    def answer(self, x: Exchange, r: Response) -> cython.int:
        return finish(x)

    @cython.cfunc
    def abort(self) -> cython.int:
        return 0 if self.x is None else client_gone(self.x)

    @cython.cfunc
    def finished(self, x: Exchange) -> cython.int:
        self.x = None
        self.mirror.under_way -= 1
        self.mirror.core.gathered -= self.held
        self.held = 0
        if x.failure is not None:
            self.mirror.told("failed", x.failure)
        else:
            self.mirror.told("answered", None)
        return 0
