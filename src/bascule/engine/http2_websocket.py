# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""A WebSocket on a stream of a client's HTTP/2 connection (RFC 8441).

To the exchange it is an upgrade of HTTP/1.1: the request that it sees is a GET with a Sec-WebSocket-Key made here. Once
the upstream has switched, the answer is 200 and DATA carries the bytes. What comes before that waits here: no more than
the stream's window, which is given back as the upstream takes the bytes. END_STREAM stands for the end of a connection,
RST_STREAM (CANCEL) for one that is cut.
"""

import cython
from cython.cimports.bascule.engine.ending import client_gone
from cython.cimports.bascule.engine.exchange import X_TUNNEL, Exchange
from cython.cimports.bascule.engine.forward import SKIP_LENGTH, SKIP_SERVER
from cython.cimports.bascule.engine.http2_stream import FIELDS, Http2Stream
from cython.cimports.bascule.engine.parties import Upstream
from cython.cimports.bascule.net.nghttp2 import (
    NGHTTP2_CANCEL,
    NGHTTP2_INTERNAL_ERROR,
    nghttp2_session_consume_stream,
)
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.http1 import FIELD_REMOVED, Parsed, name_is

from bascule.engine.pages import page


@cython.cclass
class Http2Websocket(Http2Stream):
    def __repr__(self):
        return f"<websocket on http2 stream {self.id} closed={self.closed} out={self.wlen} {self.x!r}>"

    # ---- from the client

    @cython.cfunc
    def body_came(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        x: Exchange = self.x
        self.owed += n
        if x is not None and x.state == X_TUNNEL:
            try:
                self.pass_on(p, n)
            except Exception as error:
                self.poller.failed(self, error)
        elif x is not None and self.stash(p, n) < 0:
            return self.reset(NGHTTP2_INTERNAL_ERROR)
        return self.pay_back()

    @cython.cfunc
    def pass_on(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        x: Exchange = self.x
        u: Upstream = x.up
        if x.relay is not None:
            if x.relay.from_client(p, n) < 0:
                return self.abort()
            if self.x is not x:
                return 0
        elif u.send(p, n) < 0:
            return self.reset(NGHTTP2_CANCEL)
        # One time limit for both directions, unless the upstream is what does not read.
        self.poller.arm(u, x.upstream.send_ms if u.wlen else x.idle_ms)
        return 0

    @cython.cfunc
    def body_ended(self) -> cython.int:
        self.request_done = True
        return self.resume()

    @cython.cfunc
    def resume(self) -> cython.int:
        x: Exchange = self.x
        if self.request_done and not self.over and x is not None and x.state == X_TUNNEL and x.up.wlen == 0:
            self.half_over()
        return self.pay_back()

    @cython.cfunc
    def half_over(self) -> cython.int:
        """The client sends no more: the upstream is told, and may go on. All before it is sent."""
        self.over = True
        if self.x.up.over:
            return self.hang_up()
        self.x.up.end_output()
        return 0

    @cython.cfunc
    def deliver(self) -> cython.int:
        return 0

    @cython.cfunc
    def pay_back(self) -> cython.int:
        x: Exchange = self.x
        if self.owed == 0 or self.closed:
            return 0
        if x is not None:
            if x.state != X_TUNNEL:
                return 0
            if x.up.wlen and (x.relay is None or not x.relay.closing):
                return 0
        nghttp2_session_consume_stream(self.conn.session, self.id, self.owed)
        self.owed = 0
        return self.conn.schedule()

    # ---- to the client

    @cython.cfunc
    def tunnel(self, x: Exchange, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
        i: cython.int
        dated: cython.bint
        for i in range(m.nfields):
            if m.fields[i].name_len == 20 and name_is(p + m.fields[i].name_off, b"sec-websocket-accept", 20):
                m.fields[i].flags |= FIELD_REMOVED
        FIELDS.begin(200)
        dated = FIELDS.add_head(p, m, SKIP_SERVER | SKIP_LENGTH)
        FIELDS.add_own(x.core, dated, self.alt_svc)
        x.head_bytes = FIELDS.size
        self.submit(True)
        self.poller.disarm(self)
        self.poller.arm(x.up, x.idle_ms)
        if self.rlen:  # frames that didn't wait for the answer
            self.pass_on(self.rbuf, self.rlen)
            if self.x is not x:
                return 0
            self.consume(self.rlen)
        return self.resume()

    @cython.cfunc
    @cython.exceptval(check=False)
    def send(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        if self.closed or self.ended:
            return -1
        self.queue(p, n)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def send2(
        self, p: cython.p_const_char, n: cython.Py_ssize_t, q: cython.p_const_char, k: cython.Py_ssize_t
    ) -> cython.int:
        if self.closed or self.ended or self.keep(p, n) < 0:
            return -1
        self.queue(q, k)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def end_output(self) -> cython.void:
        """The upstream sends no more; the client may go on."""
        self.ended = True
        self.queue(b"", 0)

    @cython.cfunc
    def hang_up(self) -> cython.int:
        """Both sides have said all they had to say."""
        x: Exchange = self.x
        self.x = None
        self.end_output()
        client_gone(x)
        return 0

    @cython.cfunc
    def abort(self) -> cython.int:
        x: Exchange = self.x
        if x is None or x.state != X_TUNNEL:
            return self.reset(NGHTTP2_INTERNAL_ERROR)
        if self.over or (x.relay is not None and x.relay.closing):
            return self.hang_up()
        return self.reset(NGHTTP2_CANCEL)

    # ---- where it doesn't come to be one

    @cython.cfunc
    def begin_response(
        self,
        x: Exchange,
        p: cython.p_const_char,
        m: cython.pointer(Parsed),
        body: cython.p_const_char,
        n: cython.Py_ssize_t,
    ) -> cython.int:
        r: Response = x.response
        if r is not None and 200 <= r.status < 300:
            r.status = x.status = 502
        return Http2Stream.begin_response(self, x, p, m, body, n)

    @cython.cfunc
    def answer(self, x: Exchange, r: Response) -> cython.int:
        if 200 <= r.status < 300:  # it would say that the WebSocket stands
            r = Response(502, page(502), {"Content-Type": "text/html; charset=utf-8"})
            x.status = 502
            x.failure = "an answer of 2xx to a WebSocket's request"
        return Http2Stream.answer(self, x, r)
