# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""HTTP/2 towards an upstream: a connection carries many exchanges at once, each of them a stream of it.

libnghttp2 frames and checks the protocol (RFC 9113); the exchange sees what it sees of HTTP/1.1: the response head is
written as HTTP/1.1 text and parsed as such, so what no HTTP/1.1 head may hold doesn't come through here either.

Within nghttp2's callbacks exchanges may end, fail, begin anew on the same connection: that only queues frames. They go
out once per turn of the loop, so that what happened in it shares one system call. A connection is torn down only
outside of them.

Flow control: the connection's window is given back at once, a stream's as its client takes what came, so that one slow
client holds up no other and costs STREAM_WINDOW bytes at most.
"""

import cython
from cython.cimports.bascule.engine.http2_upstream import S_BODY, S_HEAD, Http2Upstream
from cython.cimports.bascule.engine.http2_upstream_connection import Http2UpstreamConnection, stream_of
from cython.cimports.bascule.net import nghttp2 as ng
from cython.cimports.bascule.net.nghttp2 import (
    nghttp2_frame,
    nghttp2_frame_hd,
    nghttp2_option,
    nghttp2_session,
    nghttp2_session_callbacks,
)
from cython.cimports.libc.stdint import int32_t, uint8_t, uint32_t

from bascule.engine.pages import reason_of

REQUEST_HEAD_LIMIT = cython.declare(cython.int, 1 << 20)

STATUS_LINES = [f"HTTP/1.1 {status} {reason_of(status)}\r\n".encode("latin-1") for status in range(600)]
# What stands in trailers and would be taken for a field of the head (RFC 9110, section 6.5.1).
NO_TRAILERS = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range content-type host set-cookie"
    b" te trailer transfer-encoding".split()
)
_callbacks = cython.declare(cython.pointer(nghttp2_session_callbacks), cython.NULL)
_options = cython.declare(cython.pointer(nghttp2_option), cython.NULL)


@cython.cfunc
def start_http2(c: Http2UpstreamConnection) -> cython.int:
    if _callbacks == cython.NULL:
        make_callbacks()
    return c.start(_callbacks, _options)


@cython.cfunc
@cython.exceptval(check=False)
def on_begin_frame(
    session: cython.pointer(nghttp2_session),
    hd: cython.pointer(cython.const[nghttp2_frame_hd]),
    data: cython.p_void,
) -> cython.int:
    c: Http2UpstreamConnection = cython.cast(Http2UpstreamConnection, data)
    p: cython.p_void = cython.NULL
    if hd.type == ng.NGHTTP2_HEADERS or (hd.type == ng.NGHTTP2_DATA and hd.length > 0):
        p = stream_of(session, hd.stream_id)
    if p != cython.NULL and cython.cast(Http2Upstream, p).x is not None:
        c.chatter = 0
    else:
        c.chatter += 1
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def on_begin_headers(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(cython.const[nghttp2_frame]),
    data: cython.p_void,
) -> cython.int:
    c: Http2UpstreamConnection = cython.cast(Http2UpstreamConnection, data)
    c.head_len = 0
    c.trailers = None
    c.trailers_size = 0
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def on_header(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(cython.const[nghttp2_frame]),
    name: cython.pointer(cython.const[uint8_t]),
    name_len: cython.size_t,
    value: cython.pointer(cython.const[uint8_t]),
    value_len: cython.size_t,
    flags: uint8_t,
    data: cython.p_void,
) -> cython.int:
    c: Http2UpstreamConnection = cython.cast(Http2UpstreamConnection, data)
    p: cython.p_void = stream_of(session, frame.hd.stream_id)
    u: Http2Upstream
    if p == cython.NULL:
        return 0
    u = cython.cast(Http2Upstream, p)
    if u.x is None:
        return 0
    size: cython.size_t = name_len + value_len + 4
    if c.head_len + c.trailers_size + size > cython.cast(cython.size_t, c.core.response_limits.max_head):
        u.malformed = True
        return ng.NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    try:
        if u.state != S_HEAD:
            c.trailers_size += cython.cast(cython.int, size)
            field = cython.cast(cython.p_const_char, name)[:name_len]
            if field not in NO_TRAILERS:
                if c.trailers is None:
                    c.trailers = []
                c.trailers.append((field, cython.cast(cython.p_const_char, value)[:value_len]))
            return 0
        if name[0] == 58:  # ":status", the only one that nghttp2 lets through
            line: bytes = STATUS_LINES[int(cython.cast(cython.p_const_char, value)[:value_len])]
            return c.put_head(line, len(line))
        if (
            c.put_head(cython.cast(cython.p_const_char, name), name_len) < 0
            or c.put_head(b": ", 2) < 0
            or c.put_head(cython.cast(cython.p_const_char, value), value_len) < 0
            or c.put_head(b"\r\n", 2) < 0
        ):
            return ng.NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    except (ValueError, IndexError):  # no status, or none below 600
        u.malformed = True
        return ng.NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    except Exception as error:
        u.malformed = True
        c.stumbled(u, error)
        return ng.NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def on_invalid_header(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(cython.const[nghttp2_frame]),
    name: cython.pointer(cython.const[uint8_t]),
    name_len: cython.size_t,
    value: cython.pointer(cython.const[uint8_t]),
    value_len: cython.size_t,
    flags: uint8_t,
    data: cython.p_void,
) -> cython.int:
    """nghttp2 would leave such a field out; we refuse what it stands in."""
    p: cython.p_void = stream_of(session, frame.hd.stream_id)
    if p != cython.NULL:
        cython.cast(Http2Upstream, p).malformed = True
    return ng.NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE


@cython.cfunc
@cython.exceptval(check=False)
def on_frame(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(cython.const[nghttp2_frame]),
    data: cython.p_void,
) -> cython.int:
    c: Http2UpstreamConnection = cython.cast(Http2UpstreamConnection, data)
    u: Http2Upstream = None
    p: cython.p_void
    last: cython.bint = (frame.hd.flags & ng.NGHTTP2_FLAG_END_STREAM) != 0
    try:
        if frame.hd.type == ng.NGHTTP2_GOAWAY:
            c.retire()
            return 0
        if frame.hd.type != ng.NGHTTP2_HEADERS and frame.hd.type != ng.NGHTTP2_DATA:
            return 0
        p = stream_of(session, frame.hd.stream_id)
        if p == cython.NULL:
            return 0
        u = cython.cast(Http2Upstream, p)
        if u.x is None:
            return 0
        if frame.hd.type == ng.NGHTTP2_HEADERS:
            if u.state == S_HEAD:
                c.take_head(u, last)
                return 0
            u.x.trailers = c.trailers
        if last and u.state == S_BODY:
            u.whole()
    except Exception as error:
        c.stumbled(u, error)
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def on_invalid_frame(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(cython.const[nghttp2_frame]),
    code: cython.int,
    data: cython.p_void,
) -> cython.int:
    p: cython.p_void = stream_of(session, frame.hd.stream_id)
    if p != cython.NULL:
        cython.cast(Http2Upstream, p).malformed = True
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def on_data(
    session: cython.pointer(nghttp2_session),
    flags: uint8_t,
    id: int32_t,
    chunk: cython.pointer(cython.const[uint8_t]),
    n: cython.size_t,
    data: cython.p_void,
) -> cython.int:
    c: Http2UpstreamConnection = cython.cast(Http2UpstreamConnection, data)
    p: cython.p_void = stream_of(session, id)
    u: Http2Upstream = None
    ng.nghttp2_session_consume_connection(session, n)
    if p != cython.NULL:
        u = cython.cast(Http2Upstream, p)
        if u.x is not None and u.state == S_BODY:
            try:
                u.take_data(cython.cast(cython.p_const_char, chunk), n)
            except Exception as error:
                c.stumbled(u, error)
            return 0
    ng.nghttp2_session_consume_stream(session, id, n)
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def on_frame_sent(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(cython.const[nghttp2_frame]),
    data: cython.p_void,
) -> cython.int:
    p: cython.p_void
    if frame.hd.type == ng.NGHTTP2_HEADERS:
        p = stream_of(session, frame.hd.stream_id)
        if p != cython.NULL:
            cython.cast(Http2Upstream, p).sent = 1
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def on_frame_not_sent(
    session: cython.pointer(nghttp2_session),
    frame: cython.pointer(cython.const[nghttp2_frame]),
    code: cython.int,
    data: cython.p_void,
) -> cython.int:
    p: cython.p_void
    if frame.hd.type == ng.NGHTTP2_HEADERS:
        p = stream_of(session, frame.hd.stream_id)
        if p != cython.NULL:
            cython.cast(Http2Upstream, p).refused = True
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def on_stream_close(
    session: cython.pointer(nghttp2_session), id: int32_t, code: uint32_t, data: cython.p_void
) -> cython.int:
    c: Http2UpstreamConnection = cython.cast(Http2UpstreamConnection, data)
    u: Http2Upstream = None
    try:
        u = c.streams.pop(id, None)
        if u is not None:
            u.closed(code)
    except Exception as error:
        c.stumbled(u, error)
    return 0


@cython.cfunc
def make_callbacks() -> cython.int:
    global _callbacks, _options
    cbs: cython.pointer(nghttp2_session_callbacks) = cython.NULL
    options: cython.pointer(nghttp2_option) = cython.NULL
    if ng.nghttp2_session_callbacks_new(cython.address(cbs)) or ng.nghttp2_option_new(cython.address(options)):
        raise MemoryError
    ng.nghttp2_session_callbacks_set_on_begin_frame_callback(cbs, on_begin_frame)
    ng.nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers)
    ng.nghttp2_session_callbacks_set_on_header_callback(cbs, on_header)
    ng.nghttp2_session_callbacks_set_on_invalid_header_callback(cbs, on_invalid_header)
    ng.nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame)
    ng.nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cbs, on_invalid_frame)
    ng.nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data)
    ng.nghttp2_session_callbacks_set_on_frame_send_callback(cbs, on_frame_sent)
    ng.nghttp2_session_callbacks_set_on_frame_not_send_callback(cbs, on_frame_not_sent)
    ng.nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_stream_close)
    ng.nghttp2_option_set_no_auto_window_update(options, 1)
    ng.nghttp2_option_set_max_send_header_block_length(options, REQUEST_HEAD_LIMIT)
    _callbacks = cbs
    _options = options
    return 0
