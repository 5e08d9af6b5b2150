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

import cython
from cython.cimports.bascule.engine.http2_connection import INVALID_COST, Http2Connection, send_body
from cython.cimports.bascule.engine.http2_stream import Http2Stream, broken
from cython.cimports.bascule.engine.parties import Core, Downstream
from cython.cimports.bascule.net.nghttp2 import (
    NGHTTP2_CONTINUATION,
    NGHTTP2_DATA,
    NGHTTP2_ERR_CALLBACK_FAILURE,
    NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE,
    NGHTTP2_FLAG_ACK,
    NGHTTP2_FLAG_END_STREAM,
    NGHTTP2_GOAWAY,
    NGHTTP2_HCAT_REQUEST,
    NGHTTP2_HEADERS,
    NGHTTP2_NO_ERROR,
    NGHTTP2_PRIORITY,
    NGHTTP2_PROTOCOL_ERROR,
    NGHTTP2_RST_STREAM,
    NGHTTP2_WINDOW_UPDATE,
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
    nghttp2_session_get_stream_user_data,
    nghttp2_submit_rst_stream,
)
from cython.cimports.libc.stdint import int32_t, uint8_t, uint32_t

CALLBACKS = cython.declare(cython.pointer(nghttp2_session_callbacks))
OPTION = cython.declare(cython.pointer(nghttp2_option))


# ---- callbacks of the session


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def verdict(conn: Http2Connection) -> cython.int:
    """What a callback answers: nothing more of a connection's bytes is looked at once it is given up."""
    return NGHTTP2_ERR_CALLBACK_FAILURE if conn.doomed else 0


@cython.cfunc
@cython.exceptval(check=False)
def on_begin_headers(
    session: cython.pointer(nghttp2_session), frame: cython.pointer(cython.const[nghttp2_frame]), user: cython.p_void
) -> cython.int:
    conn: Http2Connection = cython.cast(Http2Connection, user)
    try:
        if frame.headers.cat == NGHTTP2_HCAT_REQUEST:
            conn.open_stream(frame.hd.stream_id)
            return verdict(conn)
        conn.trailers = []
        conn.trailer_bytes = 0
        conn.opening = stream_of(conn, frame.hd.stream_id)
        return verdict(conn)
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
        return verdict(conn)
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
                conn.begin_request(s, last)
                return verdict(conn)
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
        return verdict(conn)
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
        return verdict(conn)
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
        return verdict(conn)
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
    conn.start(CALLBACKS, OPTION)
    if n:
        conn.take(p, n)
    conn.schedule()
    return conn
