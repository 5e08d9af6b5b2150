# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""One exchange on an HTTP/2 connection to an upstream: a stream of it."""

import cython
from cython.cimports.bascule.engine.ending import fail, finish
from cython.cimports.bascule.engine.exchange import Exchange
from cython.cimports.bascule.engine.failure import (
    F_CLOSED,
    F_CONNECT,
    F_CONNECT_TIMEOUT,
    F_MALFORMED,
    F_READ_TIMEOUT,
    F_SEND_TIMEOUT,
)
from cython.cimports.bascule.engine.outcome import drop_upstream
from cython.cimports.bascule.engine.parties import Upstream
from cython.cimports.bascule.engine.tries import upstream_failed
from cython.cimports.bascule.engine.upstream_response import on_response_data, response_end
from cython.cimports.bascule.net import nghttp2 as ng
from cython.cimports.bascule.net.stream import Stream


@cython.cclass
class Http2Carrier(Stream):
    """What a stream needs of its connection."""

    @cython.cfunc
    def submit(
        self, u: Http2Upstream, x: Exchange, p: cython.p_const_char, n: cython.int, last: cython.bint
    ) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def want_flush(self) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def die(self, reason: cython.int, detail: str) -> cython.int:
        raise NotImplementedError


@cython.cclass
class Http2Upstream(Upstream):
    def __cinit__(self):
        self.bare = True
        self.id = -1

    def __repr__(self):
        return f"<http2 stream {self.id} state={self.state} {self.conn!r}>"

    # ---- the request

    @cython.cfunc
    def send_head(self, x: Exchange, p: cython.p_const_char, n: cython.int, last: cython.bint) -> cython.int:
        return self.conn.submit(self, x, p, n, last)

    @cython.cfunc
    def send_body(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        if n == 0 or self.state == S_OVER or self.ended:
            return 0
        if self.keep(p, n) < 0:
            return -1
        if not self.connecting:
            self.arm(self.plan.send_ms)
        return self.go_on()

    @cython.cfunc
    def send_chunk(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        return self.send_body(p, n)

    @cython.cfunc
    def end_body(self, chunked: cython.bint) -> cython.int:
        if self.state == S_OVER or self.ended:
            return 0
        self.ended = True
        return self.go_on()

    @cython.cfunc
    def go_on(self) -> cython.int:
        """There is something to send."""
        if self.deferred:
            self.deferred = False
            ng.nghttp2_session_resume_data(self.conn.session, self.id)
        return self.conn.want_flush()

    @cython.cfunc
    def begin(self, x: Exchange) -> cython.int:
        if self.x is not x:
            return 0
        self.deadline = grpc_deadline(x)
        if self.connecting:
            return self.arm(self.plan.connect_ms)
        return self.arm(self.plan.send_ms if self.wlen else self.plan.read_ms)

    # ---- the response

    @cython.cfunc
    def take_data(self, p: cython.p_const_char, n: cython.size_t) -> cython.int:
        x: Exchange = self.x
        self.arm(self.plan.read_ms)
        self.unconsumed += n
        on_response_data(x, p, cython.cast(cython.Py_ssize_t, n), False)
        if self.x is x and x.down is not None and x.down.wlen <= x.ahead:
            return self.pump()
        return 0

    @cython.cfunc
    def pump(self) -> cython.int:
        """The client has taken what came: as much may come again."""
        if self.unconsumed and self.state != S_OVER and not self.conn.dead:
            ng.nghttp2_session_consume_stream(self.conn.session, self.id, self.unconsumed)
            self.unconsumed = 0
            self.arm(self.plan.read_ms)
            self.conn.want_flush()
        return 0

    @cython.cfunc
    def tunnel_pump(self) -> cython.int:
        return 0

    @cython.cfunc
    def whole(self) -> cython.int:
        """The response is complete."""
        x: Exchange = self.x
        if x.filtering:
            on_response_data(x, b"", 0, True)
            if self.x is not x:
                return 0
        self.state = S_DONE
        return response_end(x)

    # ---- ends

    @cython.cfunc
    def closed(self, code: cython.uint) -> cython.int:
        """The stream is closed, by whomever."""
        x: Exchange = self.x
        if x is None:
            self.state = S_OVER
            return 0
        if self.malformed or code == ng.NGHTTP2_PROTOCOL_ERROR or code == ng.NGHTTP2_FLOW_CONTROL_ERROR:
            return self.lost(F_MALFORMED, "the response breaks HTTP/2")
        if code == ng.NGHTTP2_REFUSED_STREAM or self.refused:
            self.refused = True
            return self.lost(F_CLOSED, "the upstream refused the stream")
        if code == ng.NGHTTP2_NO_ERROR:
            return self.lost(F_CLOSED, "the upstream closed the stream")
        return self.lost(F_CLOSED, f"the upstream reset the stream: {said(ng.nghttp2_http2_strerror(code))}")

    @cython.cfunc
    def lost(self, reason: cython.int, detail: str) -> cython.int:
        """Nothing more comes, and nothing more goes."""
        x: Exchange = self.x
        whole: cython.bint = self.state == S_DONE
        self.state = S_OVER
        if x is None:
            return 0
        if whole:  # the rest of the request body has nowhere to go
            drop_upstream(x)
            if x.body_done:
                return finish(x)
            return x.down.resume()
        return self.failed(reason, detail)

    @cython.cfunc
    def failed(self, reason: cython.int, detail: str) -> cython.int:
        if self.refused:  # as good as never sent: once more, on a connection of its own
            self.sent = self.mark
            self.received = self.mark_in
            self.reused = not self.fresh
        return upstream_failed(self.x, reason, detail)

    @cython.cfunc
    def arm(self, ms: cython.long) -> cython.int:
        left: cython.longlong
        if self.deadline:
            left = (self.deadline - self.poller.now) // 1000
            if left < ms:
                ms = cython.cast(cython.long, left) if left > 0 else 0
        self.poller.arm(self, ms)
        return 0

    @cython.cfunc
    def on_timeout(self) -> cython.int:
        x: Exchange = self.x
        if x is None:
            return 0
        if self.deadline and self.poller.now >= self.deadline:
            drop_upstream(x)
            return fail(x, 504, "the deadline of the call has passed")
        if self.connecting:
            return upstream_failed(x, F_CONNECT_TIMEOUT, "connect timed out")
        if self.wlen:
            return upstream_failed(x, F_SEND_TIMEOUT, "sending the request timed out")
        if self.state == S_DONE or (self.state == S_HEAD and x.has_body and not x.body_sent):
            return self.arm(self.plan.read_ms)  # the client is still sending: its own time limit holds
        if x.down is not None and x.down.wlen:
            return self.arm(self.plan.read_ms)  # the client does not read: its own time limit holds
        return upstream_failed(x, F_READ_TIMEOUT, "reading the response timed out")

    @cython.cfunc
    def on_failure(self) -> cython.int:
        x: Exchange = self.x
        if x is not None and x.down is not None:
            return x.down.abort()
        return 0

    @cython.cfunc
    def release(self) -> cython.int:
        if self.wlen:  # answered without a look at the request
            return self.cancel()
        return self.let_go()

    @cython.cfunc
    def cancel(self) -> cython.int:
        c: Http2Carrier = self.conn
        if self.id > 0 and self.state != S_OVER and not c.dead:
            self.state = S_OVER
            ng.nghttp2_submit_rst_stream(c.session, ng.NGHTTP2_FLAG_NONE, self.id, ng.NGHTTP2_CANCEL)
            c.want_flush()
        return self.let_go()

    @cython.cfunc
    def let_go(self) -> cython.int:
        """The exchange holds it no more; the connection does until the peer has heard of its end."""
        c: Http2Carrier = self.conn
        self.wlen = 0
        self.woff = 0
        self.ended = True
        self.poller.forget(self)
        if self.id > 0:
            c.live -= 1
            if c.connecting and c.live == 0:  # nobody waits for it any more
                c.die(F_CONNECT, "the connection isn't needed any more")
        return 0


@cython.cfunc
def grpc_deadline(x: Exchange) -> cython.longlong:
    """When the grpc-timeout of the client, or of a plugin, is over, us of the poller's clock; 0: there is none."""
    i: cython.int = x.req.find(b"grpc-timeout", 12, 0)
    p: cython.p_const_char
    k: cython.int = 0
    n: cython.int
    value: cython.longlong = 0
    text: bytes
    if i >= 0:
        p = x.req.data + x.req.m.fields[i].value_off
        n = x.req.m.fields[i].value_len
    elif x.request is None or x.request.added is None:
        return 0
    else:
        text = (cython.cast(object, x.request).header("grpc-timeout") or "").encode("latin-1")
        p = text
        n = cython.cast(cython.int, len(text))
    if n < 2 or n > 9:  # eight digits and a unit
        return 0
    for k in range(n - 1):
        if not 48 <= p[k] <= 57:
            return 0
        value = value * 10 + (p[k] - 48)
    if p[n - 1] == b"H":
        value *= 3600000000
    elif p[n - 1] == b"M":
        value *= 60000000
    elif p[n - 1] == b"S":
        value *= 1000000
    elif p[n - 1] == b"m":
        value *= 1000
    elif p[n - 1] == b"n":
        value //= 1000
    elif p[n - 1] != b"u":
        return 0
    return x.t_start + value + 1


@cython.cfunc
def said(text: cython.p_const_char) -> str:
    return cython.cast(bytes, text).decode("ascii", "replace")
