# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""A client's HTTP/2 connection: bytes into the session and out of it, time limits, allowances, and the end."""

import cython
from cython.cimports.bascule.engine.arrival import refuse_head, start
from cython.cimports.bascule.engine.exchange import Exchange, fresh
from cython.cimports.bascule.engine.http2_stream import Http2Session, Http2Stream
from cython.cimports.bascule.engine.http2_websocket import Http2Websocket
from cython.cimports.bascule.engine.parties import Core, Downstream
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.nghttp2 import (
    NGHTTP2_ENHANCE_YOUR_CALM,
    NGHTTP2_ERR_CALLBACK_FAILURE,
    NGHTTP2_ERR_FLOODED,
    NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE,
    NGHTTP2_ERR_WOULDBLOCK,
    NGHTTP2_NO_ERROR,
    NGHTTP2_PROTOCOL_ERROR,
    NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL,
    NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
    NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
    NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
    NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES,
    nghttp2_data_source,
    nghttp2_frame,
    nghttp2_option,
    nghttp2_session,
    nghttp2_session_callbacks,
    nghttp2_session_del,
    nghttp2_session_get_last_proc_stream_id,
    nghttp2_session_mem_recv,
    nghttp2_session_mem_send,
    nghttp2_session_server_new2,
    nghttp2_session_set_local_window_size,
    nghttp2_session_set_stream_user_data,
    nghttp2_session_terminate_session,
    nghttp2_settings_entry,
    nghttp2_submit_goaway,
    nghttp2_submit_rst_stream,
    nghttp2_submit_settings,
    nghttp2_submit_shutdown_notice,
)
from cython.cimports.bascule.net.stream import SCRATCH
from cython.cimports.bascule.wire.chunk import is_forbidden
from cython.cimports.bascule.wire.http1 import Parsed, parse_request
from cython.cimports.bascule.wire.http2_request import FIELDS_BOMB, RequestFields
from cython.cimports.libc.stdint import int32_t, uint8_t, uint32_t
from cython.cimports.libc.stdlib import malloc
from cython.cimports.libc.string import memcpy

from bascule.engine.websocket_key import new_key

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

# Where frames are gathered for one send; they don't outlive a call.
OUT = cython.declare(cython.p_char, cython.cast(cython.p_char, malloc(65536 + 2 * 32768)))
OUT_LEN = cython.declare(cython.Py_ssize_t, 0)


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


@cython.cclass
class Http2Connection(Http2Session):
    def __cinit__(self):
        self.streams = {}
        self.dropped = []
        self.writers = []
        self.fields = RequestFields()
        self.fields.extended = True

    def __dealloc__(self):
        self.free_session()

    def __repr__(self):
        return (
            f"<http2 client fd={self.fd} state={self.state} served={self.served} streams={len(self.streams)} "
            f"out={self.wlen}>"
        )

    @cython.cfunc
    def start(
        self,
        callbacks: cython.pointer(cython.const[nghttp2_session_callbacks]),
        option: cython.pointer(cython.const[nghttp2_option]),
    ) -> cython.int:
        core: Core = self.core
        entries: nghttp2_settings_entry[5]
        limit(cython.address(self.noise), 1000, 200, core.poller.now)
        limit(cython.address(self.windows), 1000, 200, core.poller.now)
        limit(cython.address(self.resets), 500, 100, core.poller.now)
        if nghttp2_session_server_new2(
            cython.address(self.session), callbacks, cython.cast(cython.p_void, self), option
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
        entries[4].settings_id = NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL
        entries[4].value = 1
        nghttp2_submit_settings(self.session, 0, entries, 5)
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
                self.sentence = NGHTTP2_PROTOCOL_ERROR
                self.doomed = True
        if self.doomed:
            self.terminate()
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
            self.sentence = NGHTTP2_ENHANCE_YOUR_CALM
        if not self.inside:
            self.terminate()
            self.state = S_CLOSING
            self.end_streams()
            self.schedule()
        return 0

    @cython.cfunc
    def terminate(self) -> cython.int:
        """Says GOAWAY, if there is a reason to. Not within a callback: libnghttp2 before 1.68.1 may abort the process
        when it goes on reading after that (CVE-2026-27135)."""
        if self.sentence and self.session != cython.NULL:
            nghttp2_session_terminate_session(self.session, self.sentence)
            self.sentence = 0
        return 0

    def address(self) -> str:
        return self.peer.host_text[: self.peer.host_len].decode()

    @cython.cfunc
    def open_stream(self, stream_id: int32_t) -> cython.int:
        core: Core = self.core
        s: Http2Stream = Http2Stream.__new__(Http2Stream)
        self.adopt(s, stream_id)
        core.http2_streams += 1
        self.opening = s
        self.trailers = None
        self.fields.begin(core.request_limits.max_line, core.request_limits.max_head)
        return 0

    @cython.cfunc
    def adopt(self, s: Http2Stream, stream_id: int32_t) -> cython.int:
        """The stream of this number is this one."""
        peer: Downstream = self.peer
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
        nghttp2_session_set_stream_user_data(self.session, stream_id, cython.cast(cython.p_void, s))
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
            return NGHTTP2_ERR_CALLBACK_FAILURE
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
        n: cython.int
        r: cython.Py_ssize_t
        key: bytes = None
        if self.fields.upgrades():
            n = s.id
            key = new_key()
            memcpy(self.fields.key, cython.cast(cython.p_char, key), 24)
            s = Http2Websocket.__new__(Http2Websocket)
            self.adopt(s, n)
        r = n = self.fields.end(not last)
        if key is not None and last:
            r = -400  # nothing can ever come on it
        elif n > 0:
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
                return refuse_head(x, cython.cast(cython.int, -r))
            x.req.copy(self.fields.head, r)
            m.minor = 2
            x.req.data[m.first_line_end - 5] = 50  # "HTTP/2.0", for logs
            x.req.data[m.first_line_end - 3] = 48
            x.ws_key = key
            x.has_body = not last and m.content_length != 0 and key is None
            x.body_done = not x.has_body
            if x.has_body:
                x.recode = m.chunked != 0
                s.body_left = m.content_length
                self.poller.arm(s, core.body_ms)
            else:
                s.body_over = True
            start(x)
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
                if self.sentence:
                    self.terminate()
                    more = True
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
