# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The parties of an exchange, as interfaces: the engine, the client's side, the upstream's side, and who looks on."""

import cython
from cython.cimports.bascule.engine.endpoint import Endpoint, UpstreamPlan
from cython.cimports.bascule.engine.exchange import Exchange
from cython.cimports.bascule.engine.plan import ChainPlan, RoutePlan
from cython.cimports.bascule.net.poller import Handle
from cython.cimports.bascule.net.stream import Stream
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.http1 import Parsed
from cython.cimports.libc.string import memcpy


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
    def count_hedge(self, result: str) -> cython.int:
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
class StandIn(Downstream):
    @cython.cfunc
    def stand_for(self, down: Downstream) -> cython.int:
        self.poller = down.poller
        memcpy(self.host_text, down.host_text, down.host_len)
        self.host_len = down.host_len
        self.host_str = down.host_str
        self.peer_port = down.peer_port
        self.local_port = down.local_port
        self.is_unix = down.is_unix
        self.proxied = down.proxied
        self.secure = down.secure
        self.takes_chunks = True
        return 0

    @cython.cfunc
    def interim(self, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
        return 0

    @cython.cfunc
    def begin_response(
        self,
        x: Exchange,
        p: cython.p_const_char,
        m: cython.pointer(Parsed),
        body: cython.p_const_char,
        n: cython.Py_ssize_t,
    ) -> cython.int:
        return 0

    @cython.cfunc
    def end(self, x: Exchange) -> cython.int:
        return 0

    @cython.cfunc
    def resume(self) -> cython.int:
        return 0

    @cython.cfunc
    def more_body(self, x: Exchange) -> cython.int:
        return 0

    def server_address(self) -> str:
        return ""


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
