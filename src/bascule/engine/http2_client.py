# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""HTTP/2 towards the client (RFC 9113): libnghttp2 does frames, HPACK and windows; here its streams become exchanges.

Reading: bytes go into the session, whose callbacks open streams, hand bodies on, and cancel. Writing: streams keep
what the client's window does not take yet (their wlen, which is how an upstream sees backpressure); once per turn of
the loop the session is asked for frames, many into one send. A stream's window is given back as its upstream takes the
bytes; the connection's at once, so that one stream never holds up others.

The session must not be called from its own callbacks but to submit, so what callbacks cause is only noted there
(`doomed`, `writers`) and seen to after them.
"""

import contextlib

import cython
from cython.cimports.bascule.engine.exchange import BODY_NONE, BODY_RAW, Core, Downstream, Exchange, fresh
from cython.cimports.bascule.engine.forward import SKIP_LENGTH, SKIP_SERVER
from cython.cimports.bascule.engine.http2_response import ResponseFields
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.address import local_host
from cython.cimports.bascule.net.nghttp2 import (
    NGHTTP2_CANCEL,
    NGHTTP2_CONTINUATION,
    NGHTTP2_DATA,
    NGHTTP2_DATA_FLAG_EOF,
    NGHTTP2_DATA_FLAG_NO_COPY,
    NGHTTP2_DATA_FLAG_NO_END_STREAM,
    NGHTTP2_ENHANCE_YOUR_CALM,
    NGHTTP2_ERR_CALLBACK_FAILURE,
    NGHTTP2_ERR_DEFERRED,
    NGHTTP2_ERR_FLOODED,
    NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE,
    NGHTTP2_ERR_WOULDBLOCK,
    NGHTTP2_FLAG_ACK,
    NGHTTP2_FLAG_END_STREAM,
    NGHTTP2_GOAWAY,
    NGHTTP2_HCAT_REQUEST,
    NGHTTP2_HEADERS,
    NGHTTP2_INTERNAL_ERROR,
    NGHTTP2_NO_ERROR,
    NGHTTP2_PRIORITY,
    NGHTTP2_PROTOCOL_ERROR,
    NGHTTP2_RST_STREAM,
    NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
    NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
    NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
    NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES,
    NGHTTP2_WINDOW_UPDATE,
    nghttp2_data_provider,
    nghttp2_data_source,
    nghttp2_frame,
    nghttp2_frame_hd,
    nghttp2_http2_strerror,
    nghttp2_option,
    nghttp2_option_new,
    nghttp2_option_set_no_auto_window_update,
    nghttp2_option_set_no_closed_streams,
    nghttp2_option_set_stream_reset_rate_limit,
    nghttp2_session,
    nghttp2_session_callbacks,
    nghttp2_session_callbacks_new,
    nghttp2_session_callbacks_set_on_begin_frame_callback,
    nghttp2_session_callbacks_set_on_begin_headers_callback,
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback,
    nghttp2_session_callbacks_set_on_frame_recv_callback,
    nghttp2_session_callbacks_set_on_frame_send_callback,
    nghttp2_session_callbacks_set_on_header_callback,
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback,
    nghttp2_session_callbacks_set_on_invalid_header_callback,
    nghttp2_session_callbacks_set_on_stream_close_callback,
    nghttp2_session_callbacks_set_send_data_callback,
    nghttp2_session_consume_connection,
    nghttp2_session_consume_stream,
    nghttp2_session_del,
    nghttp2_session_get_last_proc_stream_id,
    nghttp2_session_get_stream_user_data,
    nghttp2_session_mem_recv,
    nghttp2_session_mem_send,
    nghttp2_session_resume_data,
    nghttp2_session_server_new2,
    nghttp2_session_set_local_window_size,
    nghttp2_session_set_stream_user_data,
    nghttp2_session_terminate_session,
    nghttp2_settings_entry,
    nghttp2_submit_goaway,
    nghttp2_submit_headers,
    nghttp2_submit_response,
    nghttp2_submit_rst_stream,
    nghttp2_submit_settings,
    nghttp2_submit_shutdown_notice,
    nghttp2_submit_trailer,
)
from cython.cimports.bascule.net.stream import SCRATCH
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.chunk import is_forbidden
from cython.cimports.bascule.wire.http1 import Parsed, parse_request
from cython.cimports.bascule.wire.http2_request import FIELDS_BOMB, RequestFields
from cython.cimports.libc.stdint import int32_t, uint8_t, uint32_t
from cython.cimports.libc.stdlib import malloc
from cython.cimports.libc.string import memcpy

STREAMS = cython.declare(cython.int, 128)
STREAM_WINDOW = cython.declare(cython.int, 65536)  # so much of a body may wait here for its upstream
CONNECTION_WINDOW = cython.declare(cython.int, 1 << 20)
BATCH = cython.declare(cython.Py_ssize_t, 65536)  # bytes of frames for one send
LARGEST = cython.declare(cython.Py_ssize_t, 32768)  # no frame, no header block of ours is larger
OUT_CAP = cython.declare(cython.Py_ssize_t, 65536 + 2 * 32768)
TRAILERS_LIMIT = cython.declare(cython.longlong, 8192)
LINGER_MS = cython.declare(cython.long, 2000)
DISCARD_LIMIT = cython.declare(cython.longlong, 1 << 20)
# While draining: how long streams that are on their way are still taken, the first ones of a new connection for longer.
LAST_REQUEST_MS = cython.declare(cython.long, 200)
FIRST_REQUEST_MS = cython.declare(cython.long, 500)
# An invalid frame or request costs as much as so many frames that only bring nothing.
INVALID_COST = cython.declare(cython.double, 10)

# Where frames are gathered for one send, and a response's fields for one submission; neither outlives a call.
OUT = cython.declare(cython.p_char, cython.cast(cython.p_char, malloc(65536 + 2 * 32768)))
OUT_LEN = cython.declare(cython.Py_ssize_t, 0)
FIELDS = cython.declare(ResponseFields, ResponseFields())
CALLBACKS = cython.declare(cython.pointer(nghttp2_session_callbacks))
OPTION = cython.declare(cython.pointer(nghttp2_option))


# ---- callbacks of the session


@cython.cfunc
@cython.exceptval(check=False)
def on_begin_headers(
    session: cython.pointer(nghttp2_session), frame: cython.pointer(cython.const[nghttp2_frame]), user: cython.p_void
) -> cython.int:
    conn: Http2Connection = cython.cast(Http2Connection, user)
    try:
        if frame.headers.cat == NGHTTP2_HCAT_REQUEST:
            return conn.open_stream(frame.hd.stream_id)
        conn.trailers = []
        conn.trailer_bytes = 0
        conn.opening = stream_of(conn, frame.hd.stream_id)
        return 0
    except BaseException as error:
        return broken(conn, error)


@cython.cfunc
@cython.exceptval(check=False)
def on_header(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(cython.const[nghttp2_frame]),
    name: cython.pointer(cython.const[uint8_t]),
    n: cython.size_t,
    value: cython.pointer(cython.const[uint8_t]),
    k: cython.size_t,
    flags: uint8_t,
    user: cython.p_void,
) -> cython.int:
    conn: Http2Connection = cython.cast(Http2Connection, user)
    p: cython.p_const_char = cython.cast(cython.p_const_char, name)
    q: cython.p_const_char = cython.cast(cython.p_const_char, value)
    try:
        if conn.trailers is not None:
            return conn.take_trailer(p, n, q, k)
        return conn.take_field(p, n, q, k)
    except BaseException as error:
        return broken(conn, error)


@cython.cfunc
@cython.exceptval(check=False)
def on_invalid_header(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(cython.const[nghttp2_frame]),
    name: cython.pointer(cython.const[uint8_t]),
    n: cython.size_t,
    value: cython.pointer(cython.const[uint8_t]),
    k: cython.size_t,
    flags: uint8_t,
    user: cython.p_void,
) -> cython.int:
    nghttp2_submit_rst_stream(session, 0, frame.hd.stream_id, NGHTTP2_PROTOCOL_ERROR)
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE


@cython.cfunc
@cython.exceptval(check=False)
def on_begin_frame(
    session: cython.pointer(nghttp2_session),
    head: cython.pointer(cython.const[nghttp2_frame_hd]),
    user: cython.p_void,
) -> cython.int:
    """Frames that on_frame isn't called for."""
    conn: Http2Connection
    if head.type != NGHTTP2_PRIORITY and head.type <= NGHTTP2_CONTINUATION:
        return 0
    conn = cython.cast(Http2Connection, user)
    try:
        conn.charge(cython.address(conn.noise), 1, "flood")
        return 0
    except BaseException as error:
        return broken(conn, error)


@cython.cfunc
@cython.exceptval(check=False)
def on_frame(
    session: cython.pointer(nghttp2_session), frame: cython.pointer(cython.const[nghttp2_frame]), user: cython.p_void
) -> cython.int:
    conn: Http2Connection = cython.cast(Http2Connection, user)
    s: Http2Stream
    kind: cython.int = frame.hd.type
    last: cython.bint = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0
    try:
        if kind == NGHTTP2_HEADERS:
            s = conn.opening
            conn.opening = None
            if s is None or s.closed:
                return 0
            if conn.trailers is None:
                return conn.begin_request(s, last)
            if len(conn.trailers) and s.x is not None:
                s.x.request_trailers = conn.trailers
            conn.trailers = None
            if last:
                s.body_ended()
        elif kind == NGHTTP2_DATA:
            if last:
                s = stream_of(conn, frame.hd.stream_id)
                if s is not None:
                    s.body_ended()
            elif frame.hd.length == 0:
                conn.charge(cython.address(conn.noise), 1, "flood")
        elif kind == NGHTTP2_WINDOW_UPDATE:
            conn.charge(cython.address(conn.windows), 1, "flood")
        elif kind == NGHTTP2_GOAWAY:
            conn.wind_up()
        elif kind != NGHTTP2_RST_STREAM and not frame.hd.flags & NGHTTP2_FLAG_ACK:
            conn.charge(cython.address(conn.noise), 1, "flood")
        return 0
    except BaseException as error:
        return broken(conn, error)


@cython.cfunc
@cython.exceptval(check=False)
def on_invalid_frame(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(cython.const[nghttp2_frame]),
    code: cython.int,
    user: cython.p_void,
) -> cython.int:
    conn: Http2Connection = cython.cast(Http2Connection, user)
    try:
        conn.core.http2_failed("invalid frame")
        conn.charge(cython.address(conn.noise), INVALID_COST, "errors")
        return 0
    except BaseException as error:
        return broken(conn, error)


@cython.cfunc
@cython.exceptval(check=False)
def on_data(
    session: cython.pointer(nghttp2_session),
    flags: uint8_t,
    stream_id: int32_t,
    data: cython.pointer(cython.const[uint8_t]),
    n: cython.size_t,
    user: cython.p_void,
) -> cython.int:
    conn: Http2Connection = cython.cast(Http2Connection, user)
    s: Http2Stream
    try:
        nghttp2_session_consume_connection(session, n)
        s = stream_of(conn, stream_id)
        if s is None:
            nghttp2_session_consume_stream(session, stream_id, n)
            return 0
        s.body_came(cython.cast(cython.p_const_char, data), n)
        return 0
    except BaseException as error:
        return broken(conn, error)


@cython.cfunc
@cython.exceptval(check=False)
def on_stream_close(
    session: cython.pointer(nghttp2_session), stream_id: int32_t, code: uint32_t, user: cython.p_void
) -> cython.int:
    conn: Http2Connection = cython.cast(Http2Connection, user)
    try:
        return conn.stream_over(stream_id, code)
    except BaseException as error:
        return broken(conn, error)


@cython.cfunc
@cython.exceptval(check=False)
def on_frame_sent(
    session: cython.pointer(nghttp2_session), frame: cython.pointer(cython.const[nghttp2_frame]), user: cython.p_void
) -> cython.int:
    conn: Http2Connection = cython.cast(Http2Connection, user)
    s: Http2Stream
    if frame.hd.type == NGHTTP2_GOAWAY and frame.goaway.error_code and not conn.doomed:
        conn.doomed = True
        try:
            conn.core.http2_failed(nghttp2_http2_strerror(frame.goaway.error_code).decode())
        except BaseException as error:
            return broken(conn, error)
    if frame.hd.type > NGHTTP2_HEADERS or not frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        return 0
    s = stream_of(conn, frame.hd.stream_id)
    if s is not None:
        s.said_end = True
        if s.x is None and not s.request_done:
            nghttp2_submit_rst_stream(session, 0, s.id, NGHTTP2_NO_ERROR)  # RFC 9113 8.1: the rest isn't needed
    return 0


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


@cython.cfunc
@cython.exceptval(check=False)
def send_body(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(nghttp2_frame),
    head: cython.pointer(cython.const[uint8_t]),
    n: cython.size_t,
    source: cython.pointer(nghttp2_data_source),
    user: cython.p_void,
) -> cython.int:
    """One DATA frame, its header as given, behind what is gathered."""
    global OUT_LEN
    s: Http2Stream = cython.cast(Http2Stream, source.ptr)
    conn: Http2Connection = s.conn
    if OUT_LEN >= BATCH:  # one call of mem_send may bring many of them
        return NGHTTP2_ERR_WOULDBLOCK
    if cython.cast(cython.size_t, s.wlen) < n:
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    memcpy(OUT + OUT_LEN, head, 9)
    memcpy(OUT + OUT_LEN + 9, s.wbuf + s.woff, n)
    OUT_LEN += 9 + n
    s.wlen -= cython.cast(cython.int, n)
    s.woff = s.woff + cython.cast(cython.int, n) if s.wlen else 0
    s.sent += n
    if conn.windows.left < conn.windows.burst:
        conn.windows.left += 2  # the client may tell of each frame that it took it, once for the connection
    s.list_writer()
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def broken(conn: Http2Connection, error: object) -> cython.int:
    """A callback must not raise: the fault is told, and the connection ends."""
    if conn.poller.on_error is not None:
        with contextlib.suppress(BaseException):
            conn.poller.on_error(error, conn)
    conn.doomed = True
    return NGHTTP2_ERR_CALLBACK_FAILURE


@cython.cfunc
def stream_of(conn: Http2Connection, stream_id: int32_t) -> Http2Stream:
    p: cython.p_void = nghttp2_session_get_stream_user_data(conn.session, stream_id)
    if p == cython.NULL:
        return None
    return cython.cast(Http2Stream, p)


@cython.cfunc
def prepare() -> cython.int:
    """The session's callbacks and options, the same for all."""
    global CALLBACKS, OPTION
    if nghttp2_session_callbacks_new(cython.address(CALLBACKS)) or nghttp2_option_new(cython.address(OPTION)):
        raise MemoryError
    nghttp2_session_callbacks_set_on_begin_headers_callback(CALLBACKS, on_begin_headers)
    nghttp2_session_callbacks_set_on_begin_frame_callback(CALLBACKS, on_begin_frame)
    nghttp2_session_callbacks_set_on_header_callback(CALLBACKS, on_header)
    nghttp2_session_callbacks_set_on_invalid_header_callback(CALLBACKS, on_invalid_header)
    nghttp2_session_callbacks_set_on_frame_recv_callback(CALLBACKS, on_frame)
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(CALLBACKS, on_invalid_frame)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(CALLBACKS, on_data)
    nghttp2_session_callbacks_set_on_stream_close_callback(CALLBACKS, on_stream_close)
    nghttp2_session_callbacks_set_on_frame_send_callback(CALLBACKS, on_frame_sent)
    nghttp2_session_callbacks_set_send_data_callback(CALLBACKS, send_body)
    nghttp2_option_set_no_auto_window_update(OPTION, 1)
    nghttp2_option_set_no_closed_streams(OPTION, 1)
    nghttp2_option_set_stream_reset_rate_limit(OPTION, 1000000, 1000000)  # counted here, with other ends of streams
    return 0


prepare()


@cython.cfunc
def make_http2(core: Core, client: Downstream, p: cython.p_const_char, n: cython.Py_ssize_t) -> Http2Connection:
    conn: Http2Connection = Http2Connection()
    conn.core = core
    conn.peer = client
    conn.readable = client.readable
    conn.half_closed = client.half_closed
    conn.drained = client.drained
    conn.tls = client.tls
    client.tls = None
    conn.received = client.received
    conn.sent = client.sent
    conn.take_output(client)
    core.http2_connections += 1
    client.poller.replace(client, conn)
    conn.start()
    if n:
        conn.take(p, n)
    conn.schedule()
    return conn


# ---- the connection


@cython.cclass
class Http2Connection(Stream):
    def __cinit__(self):
        self.streams = {}
        self.dropped = []
        self.writers = []
        self.fields = RequestFields()

    def __dealloc__(self):
        self.free_session()

    def __repr__(self):
        return (
            f"<http2 client fd={self.fd} state={self.state} served={self.served} streams={len(self.streams)} "
            f"out={self.wlen}>"
        )

    @cython.cfunc
    def start(self) -> cython.int:
        core: Core = self.core
        entries: nghttp2_settings_entry[4]
        limit(cython.address(self.noise), 1000, 200, core.poller.now)
        limit(cython.address(self.windows), 1000, 200, core.poller.now)
        limit(cython.address(self.resets), 500, 100, core.poller.now)
        if nghttp2_session_server_new2(
            cython.address(self.session), CALLBACKS, cython.cast(cython.p_void, self), OPTION
        ):
            raise MemoryError
        entries[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        entries[0].value = STREAMS
        entries[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        entries[1].value = STREAM_WINDOW
        entries[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        entries[2].value = core.request_limits.max_head
        entries[3].settings_id = NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES
        entries[3].value = 1
        nghttp2_submit_settings(self.session, 0, entries, 4)
        nghttp2_session_set_local_window_size(self.session, 0, 0, CONNECTION_WINDOW)
        if core.draining:
            self.wind_up()
        return 0

    # ---- events

    @cython.cfunc
    def on_event(self, events: cython.uint) -> cython.int:
        if self.fd < 0:
            return 0
        if self.broken:
            return self.gone()
        if events & (cnet.EPOLLRDHUP | cnet.EPOLLHUP | cnet.EPOLLERR):
            self.half_closed = True
            self.readable = True
            self.drained = False
        elif events & cnet.EPOLLIN:
            self.readable = True
            self.drained = False
        if self.wlen and events & cnet.EPOLLOUT:
            if self.flush() < 0:
                return self.gone()
        if self.readable:
            self.pump()
            if self.fd < 0:
                return 0
        if events == 0 or self.state == S_LINGER:
            self.queued = False
            return self.put_out()
        return self.schedule()

    @cython.cfunc
    def on_timeout(self) -> cython.int:
        timer: cython.int = self.timer
        served: cython.long = self.served
        self.timer = T_NONE
        if self.fd < 0:
            return 0
        if timer == T_OUTPUT:
            self.core.http2_failed("client doesn't read")
            return self.gone()
        if timer == T_LINGER:
            return self.gone()
        if timer == T_NOTICE:
            self.last_call()
        elif timer == T_FIELDS:
            self.calm("header timeout")
        elif timer == T_IDLE:
            self.readable = True  # a request that has come just now is answered
            self.pump()
            if self.fd < 0:
                return 0
            if self.served == served and not self.streams:
                self.last_call()
        return self.schedule()

    @cython.cfunc
    def on_failure(self) -> cython.int:
        return self.gone()

    @cython.cfunc
    @cython.exceptval(check=False)
    def free_session(self) -> cython.void:
        if self.session != cython.NULL and not self.inside:
            nghttp2_session_del(self.session)
            self.session = cython.NULL
            self.dropped = []

    @cython.cfunc
    def gone(self) -> cython.int:
        """Closes at once, whatever was going on."""
        if self.fd >= 0:
            self.core.active -= 1
            self.core.http2_connections -= 1
            self.close()
        self.end_streams()
        self.free_session()
        return 0

    @cython.cfunc
    def end_streams(self) -> cython.int:
        streams: dict = self.streams
        self.streams = {}
        self.writers = []
        self.opening = None
        self.dropped.append(streams)  # the session may still point to them
        for entry in streams.values():
            if self.session != cython.NULL:
                nghttp2_session_set_stream_user_data(self.session, cython.cast(Http2Stream, entry).id, cython.NULL)
            cython.cast(Http2Stream, entry).drop()
        return 0

    # ---- reading

    @cython.cfunc
    def pump(self) -> cython.int:
        n: cython.Py_ssize_t
        while self.readable and self.fd >= 0:
            n = self.receive(self.core.scratch, SCRATCH)
            if n <= 0:
                if n == -1:
                    break
                return self.gone()
            if self.state == S_LINGER:
                self.left -= n
                if self.left < 0:
                    return self.gone()
            elif self.state != S_CLOSING:
                self.take(self.core.scratch, n)
        return 0

    @cython.cfunc
    def take(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        r: cython.Py_ssize_t
        self.inside = True
        r = nghttp2_session_mem_recv(self.session, cython.cast(cython.pointer(cython.const[uint8_t]), p), n)
        self.inside = False
        if self.fd < 0:
            self.free_session()
            return 0
        if r < 0:
            if r == NGHTTP2_ERR_FLOODED:
                self.calm("flood")
            elif not self.doomed:
                self.core.http2_failed("not HTTP/2")
                nghttp2_session_terminate_session(self.session, NGHTTP2_PROTOCOL_ERROR)
                self.doomed = True
        if self.doomed:
            self.state = S_CLOSING
            self.end_streams()
        return 0

    @cython.cfunc
    def charge(self, a: cython.pointer(Allowance), cost: cython.double, reason: str) -> cython.int:
        """One more of what is limited; beyond the limit the connection ends."""
        if spend(a, cost, self.poller.now):
            return 0
        return self.calm(reason)

    @cython.cfunc
    def calm(self, reason: str) -> cython.int:
        """Ends the connection, which costs us more than it is worth."""
        if not self.doomed:
            self.doomed = True
            self.core.http2_failed(reason)
            self.core.log.warning("HTTP/2 client %s: connection ended: %s", self.address(), reason)
            nghttp2_session_terminate_session(self.session, NGHTTP2_ENHANCE_YOUR_CALM)
        if not self.inside:
            self.state = S_CLOSING
            self.end_streams()
            self.schedule()
        return 0

    def address(self) -> str:
        return self.peer.host_text[: self.peer.host_len].decode()

    @cython.cfunc
    def open_stream(self, stream_id: int32_t) -> cython.int:
        core: Core = self.core
        peer: Downstream = self.peer
        s: Http2Stream = Http2Stream.__new__(Http2Stream)
        s.conn = self
        s.id = stream_id
        s.poller = self.poller
        s.body_left = -1
        s.host_len = peer.host_len
        memcpy(s.host_text, peer.host_text, 64)
        s.host_str = peer.host_str
        s.peer_port = peer.peer_port
        s.local_port = peer.local_port
        s.is_unix = peer.is_unix
        s.secure = peer.secure
        s.alt_svc = peer.alt_svc
        s.proxied = peer.proxied
        s.tls = self.tls
        self.streams[stream_id] = s
        core.http2_streams += 1
        nghttp2_session_set_stream_user_data(self.session, stream_id, cython.cast(cython.p_void, s))
        self.opening = s
        self.trailers = None
        self.fields.begin(core.request_limits.max_line, core.request_limits.max_head)
        return 0

    @cython.cfunc
    def take_field(
        self, name: cython.p_const_char, n: cython.Py_ssize_t, value: cython.p_const_char, k: cython.Py_ssize_t
    ) -> cython.int:
        r: cython.int
        if self.opening is None:
            return 0
        r = self.fields.field(name, n, value, k)
        if r == 0:
            return 0
        if r == FIELDS_BOMB:
            self.calm("header bomb")
        nghttp2_submit_rst_stream(self.session, 0, self.opening.id, NGHTTP2_PROTOCOL_ERROR)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE

    @cython.cfunc
    def take_trailer(
        self, name: cython.p_const_char, n: cython.Py_ssize_t, value: cython.p_const_char, k: cython.Py_ssize_t
    ) -> cython.int:
        self.trailer_bytes += n + k + 32
        if self.opening is None:
            return 0
        # What must not come behind a body would be taken for a field of the head by who merges both.
        if self.trailer_bytes > TRAILERS_LIMIT or n > 1024 or is_forbidden(name, cython.cast(cython.int, n)):
            nghttp2_submit_rst_stream(self.session, 0, self.opening.id, NGHTTP2_PROTOCOL_ERROR)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
        self.trailers.append((name[:n], value[:k]))
        return 0

    @cython.cfunc
    def begin_request(self, s: Http2Stream, last: cython.bint) -> cython.int:
        """The header block of a request is whole."""
        core: Core = self.core
        x: Exchange = fresh(core)
        m: cython.pointer(Parsed) = cython.address(x.req.m)
        n: cython.int = self.fields.end(not last)
        r: cython.Py_ssize_t = n
        if n > 0:
            r = parse_request(self.fields.head, n, m, cython.address(core.request_limits))
            if r >= 0 and r != n:
                r = -400
        self.served += 1
        if self.served >= core.keepalive_requests:
            self.wind_up()
        s.served = self.served
        s.x = x
        s.request_done = last
        x.down = s
        x.t_start = self.poller.now
        x.sent_before = 0
        try:
            if r < 0:
                return x.refuse_head(cython.cast(cython.int, -r))
            x.req.copy(self.fields.head, r)
            m.minor = 2
            x.req.data[m.first_line_end - 5] = 50  # "HTTP/2.0", for logs
            x.req.data[m.first_line_end - 3] = 48
            x.has_body = not last and m.content_length != 0
            x.body_done = not x.has_body
            if x.has_body:
                x.recode = m.chunked != 0
                s.body_left = m.content_length
                self.poller.arm(s, core.body_ms)
            else:
                s.body_over = True
            x.start()
        except Exception as error:
            self.poller.failed(s, error)
        return 0

    @cython.cfunc
    def stream_over(self, stream_id: int32_t, code: uint32_t) -> cython.int:
        s: Http2Stream = cython.cast(object, self.streams.pop(stream_id, None))
        if s is None:
            return 0
        if code == NGHTTP2_NO_ERROR and s.request_done and s.said_end:
            s.closed = True  # an upstream that still takes the rest of the body may do so
            return 0
        if self.opening is s:  # its head never came to an end
            self.opening = None
            self.core.http2_failed("malformed request")
            self.charge(cython.address(self.noise), INVALID_COST, "errors")
        if s.x is not None or not s.ended:
            # Also what we reset for the client's faults: either way work was begun for nothing.
            self.charge(cython.address(self.resets), 1, "rapid reset")
        s.drop()
        return 0

    # ---- writing

    @cython.cfunc
    def schedule(self) -> cython.int:
        """Frames are sent at the end of this turn of the loop."""
        if not self.queued and self.fd >= 0:
            self.queued = True
            self.poller.later(self)
        return 0

    @cython.cfunc
    def fill_out(self) -> cython.int:
        """Gathers frames; 1: there may be more."""
        global OUT_LEN
        data: cython.pointer(cython.const[uint8_t])
        n: cython.Py_ssize_t = 1
        OUT_LEN = 0
        self.inside = True
        while OUT_LEN < BATCH:
            n = nghttp2_session_mem_send(self.session, cython.address(data))
            if n <= 0:
                break
            if OUT_LEN + n > OUT_CAP - LARGEST:  # a huge header block
                if self.send(OUT, OUT_LEN) < 0 or self.send(cython.cast(cython.p_const_char, data), n) < 0:
                    break
                OUT_LEN = 0
                continue
            memcpy(OUT + OUT_LEN, data, n)
            OUT_LEN += n
        self.inside = False
        if n < 0:
            self.doomed = True
        return n > 0 or (n == 0 and OUT_LEN >= BATCH)

    @cython.cfunc
    def put_out(self) -> cython.int:
        more: cython.bint = True
        todo: list
        while more and self.wlen == 0 and self.state != S_LINGER:
            more = self.fill_out()
            if self.fd < 0:
                self.free_session()
                return 0
            if OUT_LEN and self.send(OUT, OUT_LEN) < 0:
                return self.gone()
            if self.doomed:
                self.state = S_CLOSING
                self.end_streams()
            if len(self.writers):
                todo = self.writers
                self.writers = []
                for entry in todo:
                    cython.cast(Http2Stream, entry).listed = False
                    cython.cast(Http2Stream, entry).moved()
                    if self.fd < 0:
                        return 0
        return self.settle()

    @cython.cfunc
    def settle(self) -> cython.int:
        """Sets the time limit that holds now; closes what has come to its end."""
        timer: cython.int = T_NONE
        ms: cython.long = 0
        core: Core = self.core
        if self.state == S_LAST and not self.streams:
            self.state = S_CLOSING
        if self.wlen:
            timer = T_OUTPUT
            ms = core.send_ms
        elif self.state == S_CLOSING:
            return self.linger()
        elif self.state == S_LINGER:
            timer = T_LINGER
            ms = LINGER_MS
        elif self.opening is not None:
            timer = T_FIELDS
            ms = core.header_ms
        elif self.state == S_NOTICE:
            timer = T_NOTICE
            ms = LAST_REQUEST_MS if self.served else FIRST_REQUEST_MS
        elif not self.streams:
            timer = T_IDLE
            ms = core.keepalive_ms if self.served else core.header_ms
        if timer == self.timer and (timer != T_OUTPUT or self.sent - self.wlen == self.sent_mark):
            return 0
        self.timer = timer
        self.sent_mark = self.sent - self.wlen  # grows with what goes out, also where `sent` counts what was sealed
        if timer == T_NONE:
            self.poller.disarm(self)
        else:
            self.poller.arm(self, ms)
        return 0

    # ---- the end

    @cython.cfunc
    def wind_up(self) -> cython.int:
        """GOAWAY; streams that the client opens before it has heard of it are still served (RFC 9113 6.8)."""
        if self.state == S_OPEN:
            self.state = S_NOTICE
            nghttp2_submit_shutdown_notice(self.session)
            self.schedule()
        return 0

    @cython.cfunc
    def last_call(self) -> cython.int:
        """Streams are taken up to here; the connection closes with the last of them."""
        if self.state < S_LAST:
            self.state = S_LAST
            nghttp2_submit_goaway(
                self.session,
                0,
                nghttp2_session_get_last_proc_stream_id(self.session),
                NGHTTP2_NO_ERROR,
                cython.NULL,
                0,
            )
            self.schedule()
        return 0

    @cython.cfunc
    def linger(self) -> cython.int:
        """Closing with bytes unread would reset the connection, our GOAWAY with it."""
        if self.half_closed:
            return self.gone()
        self.state = S_LINGER
        self.left = DISCARD_LIMIT
        self.end_output()
        self.settle()
        if self.readable:
            return self.pump()
        return 0

    def drain_idle(self):
        """The worker goes: the client is told, and the connection closes with its last stream."""
        self.wind_up()

    def awaits_requests(self) -> bool:
        return self.state < S_LAST


@cython.cfunc
@cython.exceptval(check=False)
def limit(
    a: cython.pointer(Allowance), burst: cython.double, per_s: cython.double, now: cython.longlong
) -> cython.void:
    a.left = burst
    a.burst = burst
    a.per_s = per_s
    a.at = now


@cython.cfunc
@cython.exceptval(check=False)
def spend(a: cython.pointer(Allowance), cost: cython.double, now: cython.longlong) -> cython.bint:
    a.left += (now - a.at) * a.per_s / 1e6
    a.at = now
    if a.left > a.burst:
        a.left = a.burst
    a.left -= cost
    return a.left >= 0


# ---- its streams


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
        if self.rlen or not x.wants_body():
            self.poller.arm(self, self.conn.core.body_ms)  # it is the upstream that doesn't take it
            return 0
        x.drop_upstream()
        return x.fail(408, "the request body did not arrive in time")

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
            x.client_gone()
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
            x.client_gone()
        return 0

    # ---- the request

    @cython.cfunc
    def body_came(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        self.owed += n
        if self.x is None or self.body_over:
            return self.pay_back()
        self.poller.arm(self, self.conn.core.body_ms)
        if self.rlen == 0 and not self.delivering and self.x.wants_body():
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
            return x.body_in(p, n, p, n, last)
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
        while self.rlen and x is not None and self.x is x and x.wants_body():
            n = self.rlen
            self.hand_on(self.rbuf, n)
            self.consume(n)  # nothing comes in meanwhile
        if (
            self.request_done
            and not self.body_over
            and self.rlen == 0
            and x is not None
            and self.x is x
            and x.wants_body()
        ):
            self.body_over = True
            self.poller.disarm(self)
            try:
                x.body_in(b"", 0, b"", 0, True)
            except Exception as error:
                self.poller.failed(self, error)
        return 0

    @cython.cfunc
    def pay_back(self) -> cython.int:
        """The client may send again what was taken off its hands."""
        if self.owed and not self.closed and (self.x is None or self.body_over or self.x.wants_body()):
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
            if x.request.body_out is None and not x.push_held():
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
        FIELDS.begin(r.status)
        FIELDS.add_pairs(r.added)
        FIELDS.add_own(core, r.find("date") is not None, self.alt_svc)
        if not bodyless:
            FIELDS.add_length(len(body))
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
        return x.finish()

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
