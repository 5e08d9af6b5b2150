# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""One stream of a client's HTTP/2 connection: a request that comes in, and the response that goes out."""

import contextlib

import cython
from cython.cimports.bascule.engine.ending import client_gone, fail, finish
from cython.cimports.bascule.engine.exchange import BODY_NONE, BODY_RAW, Exchange
from cython.cimports.bascule.engine.forward import SKIP_LENGTH, SKIP_SERVER
from cython.cimports.bascule.engine.http2_response import ResponseFields
from cython.cimports.bascule.engine.outcome import drop_upstream
from cython.cimports.bascule.engine.parties import Core, Downstream
from cython.cimports.bascule.engine.request_body import body_in, push_held, wants_body
from cython.cimports.bascule.net.address import local_host
from cython.cimports.bascule.net.nghttp2 import (
    NGHTTP2_CANCEL,
    NGHTTP2_DATA_FLAG_EOF,
    NGHTTP2_DATA_FLAG_NO_COPY,
    NGHTTP2_DATA_FLAG_NO_END_STREAM,
    NGHTTP2_ERR_CALLBACK_FAILURE,
    NGHTTP2_ERR_DEFERRED,
    NGHTTP2_INTERNAL_ERROR,
    NGHTTP2_NO_ERROR,
    nghttp2_data_provider,
    nghttp2_data_source,
    nghttp2_session,
    nghttp2_session_consume_stream,
    nghttp2_session_resume_data,
    nghttp2_submit_headers,
    nghttp2_submit_response,
    nghttp2_submit_rst_stream,
    nghttp2_submit_trailer,
)
from cython.cimports.bascule.net.stream import Stream
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.http1 import Parsed
from cython.cimports.libc.stdint import int32_t, uint8_t, uint32_t

# A response's fields for one submission; they don't outlive a call.
FIELDS = ResponseFields()


@cython.cclass
class Http2Session(Stream):
    """What a stream needs of its connection."""

    @cython.cfunc
    def schedule(self) -> cython.int:
        raise NotImplementedError


@cython.cfunc
@cython.exceptval(check=False)
def broken(conn: Http2Session, error: object) -> cython.int:
    """A callback must not raise: the fault is told, and the connection ends."""
    if conn.poller.on_error is not None:
        with contextlib.suppress(BaseException):
            conn.poller.on_error(error, conn)
    conn.doomed = True
    return NGHTTP2_ERR_CALLBACK_FAILURE


@cython.cfunc
@cython.exceptval(check=False)
def read_body(
    session: cython.pointer(nghttp2_session),
    stream_id: int32_t,
    buf: cython.pointer(uint8_t),
    length: cython.size_t,
    flags: cython.pointer(uint32_t),
    source: cython.pointer(nghttp2_data_source),
    user: cython.p_void,
) -> cython.Py_ssize_t:
    """How much of a stream's output goes into the next DATA frame."""
    s: Http2Stream = cython.cast(Http2Stream, source.ptr)
    n: cython.Py_ssize_t = s.wlen
    if n == 0 and not s.ended:
        s.deferred = True
        return NGHTTP2_ERR_DEFERRED
    if n > cython.cast(cython.Py_ssize_t, length):
        n = length
    elif s.ended:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
        if s.trailers_out is not None:
            flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
            try:
                FIELDS.n = 0
                FIELDS.add_pairs(s.trailers_out)
                nghttp2_submit_trailer(session, stream_id, FIELDS.nv, FIELDS.n)
            except BaseException as error:
                return broken(s.conn, error)
    if n:
        flags[0] |= NGHTTP2_DATA_FLAG_NO_COPY
    return n


@cython.cclass
class Http2Stream(Downstream):
    def __repr__(self):
        return f"<http2 stream {self.id} closed={self.closed} in={self.rlen} out={self.wlen} {self.x!r}>"

    @cython.cfunc
    def on_timeout(self) -> cython.int:
        x: Exchange = self.x
        if self.closed:
            return 0
        if self.wlen:
            self.conn.core.http2_failed("stream stalled")
            return self.reset(NGHTTP2_CANCEL)
        if x is None or self.body_over:
            return 0
        if self.rlen or not wants_body(x):
            self.poller.arm(self, self.conn.core.body_ms)  # it is the upstream that doesn't take it
            return 0
        drop_upstream(x)
        return fail(x, 408, "the request body did not arrive in time")

    @cython.cfunc
    def on_failure(self) -> cython.int:
        return self.reset(NGHTTP2_INTERNAL_ERROR)

    @cython.cfunc
    def abort(self) -> cython.int:
        return self.reset(NGHTTP2_INTERNAL_ERROR)

    @cython.cfunc
    def reset(self, code: uint32_t) -> cython.int:
        """Ends it for both sides."""
        x: Exchange = self.x
        self.x = None
        self.wlen = 0
        self.ended = False  # what was sent of a response must not look like all of it
        if not self.closed:
            nghttp2_submit_rst_stream(self.conn.session, 0, self.id, code)
            self.conn.schedule()
        if x is not None:
            client_gone(x)
        return 0

    @cython.cfunc
    def drop(self) -> cython.int:
        """The session knows it no more, or the connection has gone."""
        x: Exchange = self.x
        self.closed = True
        self.x = None
        self.wlen = 0
        self.ended = False
        self.poller.disarm(self)
        if x is not None:
            client_gone(x)
        return 0

    # ---- the request

    @cython.cfunc
    def body_came(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        self.owed += n
        if self.x is None or self.body_over:
            return self.pay_back()
        self.poller.arm(self, self.conn.core.body_ms)
        if self.rlen == 0 and not self.delivering and wants_body(self.x):
            self.hand_on(p, n)
        elif self.stash(p, n) < 0:
            return self.reset(NGHTTP2_INTERNAL_ERROR)
        return self.pay_back()

    @cython.cfunc
    def hand_on(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        x: Exchange = self.x
        last: cython.bint = False
        if self.body_left >= 0:
            self.body_left -= n
            last = self.body_left <= 0
        if last:
            self.body_over = True
            self.poller.disarm(self)
        self.delivering = True
        try:
            return body_in(x, p, n, p, n, last)
        except Exception as error:
            self.poller.failed(self, error)
        finally:
            self.delivering = False
        return 0

    @cython.cfunc
    def body_ended(self) -> cython.int:
        """END_STREAM has come."""
        self.request_done = True
        return self.deliver()

    @cython.cfunc
    def deliver(self) -> cython.int:
        """Hands on what waits here, as far as the exchange takes it."""
        x: Exchange = self.x
        n: cython.int
        if self.delivering:
            return 0
        while self.rlen and x is not None and self.x is x and wants_body(x):
            n = self.rlen
            self.hand_on(self.rbuf, n)
            self.consume(n)  # nothing comes in meanwhile
        if (
            self.request_done
            and not self.body_over
            and self.rlen == 0
            and x is not None
            and self.x is x
            and wants_body(x)
        ):
            self.body_over = True
            self.poller.disarm(self)
            try:
                body_in(x, b"", 0, b"", 0, True)
            except Exception as error:
                self.poller.failed(self, error)
        return 0

    @cython.cfunc
    def pay_back(self) -> cython.int:
        """The client may send again what was taken off its hands."""
        if self.owed and not self.closed and (self.x is None or self.body_over or wants_body(self.x)):
            if self.rlen and self.x is not None:
                return 0
            nghttp2_session_consume_stream(self.conn.session, self.id, self.owed)
            self.owed = 0
            self.conn.schedule()
        return 0

    @cython.cfunc
    def resume(self) -> cython.int:
        x: Exchange = self.x
        if x is not None and x.held is not None and x.up is not None and not x.body_sent:
            if x.request.body_out is None and not push_held(x):
                return 0
        self.deliver()
        return self.pay_back()

    @cython.cfunc
    def more_body(self, x: Exchange) -> cython.int:
        if x.req.m.expect_continue and not x.continued:
            x.continued = True
            FIELDS.begin(100)
            nghttp2_submit_headers(self.conn.session, 0, self.id, cython.NULL, FIELDS.nv, FIELDS.n, cython.NULL)
            self.conn.schedule()
        self.deliver()
        return self.pay_back()

    # ---- the response

    @cython.cfunc
    def list_writer(self) -> cython.int:
        if not self.listed:
            self.listed = True
            self.conn.writers.append(self)
        return 0

    @cython.cfunc
    def moved(self) -> cython.int:
        """Output went to the client's connection, or could not."""
        x: Exchange = self.x
        if self.closed:
            return 0
        if self.wlen:
            self.poller.arm(self, self.conn.core.send_ms)
            return 0
        if x is None:
            self.poller.disarm(self)
            return 0
        if self.body_over:
            self.poller.disarm(self)
        else:
            self.poller.arm(self, self.conn.core.body_ms)
        if x.up is not None:
            x.up.pump()
        return 0

    @cython.cfunc
    def queue(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        if self.closed:
            return 0
        if self.keep(p, n) < 0:
            return self.reset(NGHTTP2_INTERNAL_ERROR)
        if self.deferred:
            self.deferred = False
            nghttp2_session_resume_data(self.conn.session, self.id)
        self.list_writer()
        return self.conn.schedule()

    @cython.cfunc
    def submit(self, has_body: cython.bint) -> cython.int:
        """The head that stands in FIELDS."""
        provider: nghttp2_data_provider
        self.started = True
        self.sent += FIELDS.size
        if self.closed:
            return 0
        if has_body:
            provider.source.ptr = cython.cast(cython.p_void, self)
            provider.read_callback = read_body
            nghttp2_submit_response(self.conn.session, self.id, FIELDS.nv, FIELDS.n, cython.address(provider))
        else:
            self.ended = True
            nghttp2_submit_response(self.conn.session, self.id, FIELDS.nv, FIELDS.n, cython.NULL)
        return self.conn.schedule()

    @cython.cfunc
    def interim(self, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
        if m.status == 100:
            if self.x.continued:
                return 0
            self.x.continued = True
        if self.closed:
            return 0
        FIELDS.begin(m.status)
        FIELDS.add_head(p, m, SKIP_LENGTH)
        nghttp2_submit_headers(self.conn.session, 0, self.id, cython.NULL, FIELDS.nv, FIELDS.n, cython.NULL)
        return self.conn.schedule()

    @cython.cfunc
    def begin_response(
        self,
        x: Exchange,
        p: cython.p_const_char,
        m: cython.pointer(Parsed),
        body: cython.p_const_char,
        n: cython.Py_ssize_t,
    ) -> cython.int:
        core: Core = self.conn.core
        r: Response = x.response
        skip: cython.int = SKIP_SERVER
        dated: cython.bint
        if x.resp_kept:
            p = x.resp.data
        if x.status == 204:
            skip |= SKIP_LENGTH
        FIELDS.begin(m.status if r is None else r.status)
        dated = FIELDS.add_head(p, m, skip)
        if x.resp_kept:
            FIELDS.add_pairs(r.added)
        FIELDS.add_own(core, dated, self.alt_svc)
        if x.upstream_status >= 500 or core.show_upstream_status:
            FIELDS.add_tries(x)
        x.head_bytes = FIELDS.size
        self.submit(x.body_mode != BODY_NONE and not (x.body_mode == BODY_RAW and m.content_length == 0))
        return self.queue(body, n) if n else 0

    @cython.cfunc
    def data(self, x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        if n == 0 or x.body_mode == BODY_NONE:
            return 0
        return self.queue(p, n)

    @cython.cfunc
    def end(self, x: Exchange) -> cython.int:
        if self.ended:
            return 0
        self.ended = True
        self.trailers_out = x.trailers
        return self.queue(b"", 0)

    @cython.cfunc
    def answer(self, x: Exchange, r: Response) -> cython.int:
        core: Core = self.conn.core
        body: bytes = r.body if r.body is not None else b""
        bodyless: cython.bint = r.status == 204 or r.status == 304 or r.status < 200
        length: cython.Py_ssize_t = len(body)
        if x.head_request and r.body_length is not None:
            length = r.body_length
        FIELDS.begin(r.status)
        FIELDS.add_pairs(r.added)
        FIELDS.add_own(core, r.find("date") is not None, self.alt_svc)
        if not bodyless and length >= 0:
            FIELDS.add_length(length)
        if x.source != 1 and x.upstream_status and (x.upstream_status >= 500 or core.show_upstream_status):
            FIELDS.add_tries(x)
        x.head_bytes = FIELDS.size
        if bodyless or x.head_request or (len(body) == 0 and x.trailers is None):
            self.submit(False)
        else:
            self.submit(True)
            self.ended = True
            self.trailers_out = x.trailers
            self.queue(body, len(body))
        return finish(x)

    @cython.cfunc
    def finished(self, x: Exchange) -> cython.int:
        x.sent_before = self.sent + self.wlen
        self.x = None
        if not self.delivering:
            self.consume(self.rlen)
        self.pay_back()
        if self.said_end and not self.request_done and not self.closed:
            nghttp2_submit_rst_stream(self.conn.session, 0, self.id, NGHTTP2_NO_ERROR)
            self.conn.schedule()
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def total_sent(self) -> cython.longlong:
        return self.sent + self.wlen

    def server_address(self) -> str:
        if self.proxied is not None and self.proxied.source is not None:
            return self.proxied.destination
        return local_host(self.conn.fd)
