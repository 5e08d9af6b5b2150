# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""A connection of HTTP/2 to an upstream: what is asked goes into its session, what is said comes out of it."""

import cython
from cython.cimports.bascule.engine.endpoint import UpstreamPlan
from cython.cimports.bascule.engine.exchange import Exchange
from cython.cimports.bascule.engine.failure import F_CLOSED, F_CONNECT, F_MALFORMED, F_READ_TIMEOUT, F_SEND_TIMEOUT
from cython.cimports.bascule.engine.hedge import winner
from cython.cimports.bascule.engine.http2_upstream import S_BODY, Http2Carrier, Http2Upstream, said
from cython.cimports.bascule.engine.upstream_response import on_response_head
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net import nghttp2 as ng
from cython.cimports.bascule.net.nghttp2 import (
    nghttp2_data_provider,
    nghttp2_data_source,
    nghttp2_data_source_read_callback,
    nghttp2_nv,
    nghttp2_option,
    nghttp2_session,
    nghttp2_session_callbacks,
    nghttp2_settings_entry,
)
from cython.cimports.bascule.wire.http1 import Parsed, name_is, parse_response
from cython.cimports.libc.stdint import int32_t, uint8_t, uint32_t
from cython.cimports.libc.stdlib import free, malloc, realloc
from cython.cimports.libc.string import memchr, memcpy

MOST_STREAMS = cython.declare(cython.int, 100)  # at once on one connection; the next one gets a connection of its own
STREAM_WINDOW = cython.declare(cython.int, 262144)
CONNECTION_WINDOW = cython.declare(cython.int, 16777216)
BUFFER = cython.declare(cython.int, 65536)
INTERIM_LIMIT = cython.declare(cython.int, 1000)
PING_ANSWER_MS = cython.declare(cython.long, 20000)
CHATTER_LIMIT = cython.declare(cython.long, 10000)  # frames that bring nothing, one after the other


@cython.cclass
class Http2UpstreamConnection(Http2Carrier):
    def __cinit__(self):
        self.streams = {}
        self.emptied = []

    def __dealloc__(self):
        if self.session != cython.NULL:
            ng.nghttp2_session_del(self.session)
        free(self.inbuf)
        free(self.outbuf)
        free(self.head)
        free(self.fields)

    def __repr__(self):
        return f"<http2 upstream fd={self.fd} streams={len(self.streams)} opened={self.opened} {self.endpoint!r}>"

    @cython.cfunc
    def start(
        self,
        callbacks: cython.pointer(cython.const[nghttp2_session_callbacks]),
        options: cython.pointer(cython.const[nghttp2_option]),
    ) -> cython.int:
        """The session; `fd` stands, connected or on its way."""
        entries: nghttp2_settings_entry[3]
        self.inbuf = cython.cast(cython.p_char, malloc(BUFFER))
        self.outbuf = cython.cast(cython.p_char, malloc(BUFFER))
        self.head_cap = 4096
        self.head = cython.cast(cython.p_char, malloc(self.head_cap))
        self.fields_cap = 160
        self.fields = cython.cast(cython.pointer(nghttp2_nv), malloc(self.fields_cap * cython.sizeof(nghttp2_nv)))
        if (
            self.inbuf == cython.NULL
            or self.outbuf == cython.NULL
            or self.head == cython.NULL
            or self.fields == cython.NULL
            or ng.nghttp2_session_client_new2(
                cython.address(self.session), callbacks, cython.cast(cython.p_void, self), options
            )
            != 0
        ):
            raise MemoryError
        entries[0].settings_id = ng.NGHTTP2_SETTINGS_ENABLE_PUSH
        entries[0].value = 0
        entries[1].settings_id = ng.NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        entries[1].value = STREAM_WINDOW
        entries[2].settings_id = ng.NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        entries[2].value = self.core.response_limits.max_head
        ng.nghttp2_submit_settings(self.session, ng.NGHTTP2_FLAG_NONE, entries, 3)
        ng.nghttp2_session_set_local_window_size(self.session, ng.NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def has_room(self, plan: UpstreamPlan) -> cython.bint:
        """Whether one more exchange may begin here."""
        most: uint32_t
        if self.retiring or self.dead or self.broken:
            return False
        most = ng.nghttp2_session_get_remote_settings(self.session, ng.NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        if most > cython.cast(uint32_t, MOST_STREAMS):
            most = MOST_STREAMS
        return len(self.streams) < cython.cast(cython.Py_ssize_t, most)

    @cython.cfunc
    def stands(self) -> cython.bint:
        """Looks whether a connection at rest is still there, before a request that can't be sent twice."""
        if not self.inside and len(self.streams) == 0 and not self.connecting:
            self.readable = True
            self.pump()
        return not self.retiring and not self.dead and not self.broken

    # ---- events

    @cython.cfunc
    def on_event(self, events: cython.uint) -> cython.int:
        error: cython.int = 0
        size: cnet.socklen_t = 4
        if self.fd < 0:
            return 0
        if events == 0:  # asked for by poller.later
            self.flushing = False
            if self.tls is not None and not self.tls.established:
                return 0
            return self.write()
        if events & (cnet.EPOLLRDHUP | cnet.EPOLLHUP | cnet.EPOLLERR):
            self.half_closed = True
            self.readable = True
            self.drained = False
        elif events & cnet.EPOLLIN:
            self.readable = True
            self.drained = False
        if self.connecting and events & (cnet.EPOLLOUT | cnet.EPOLLERR | cnet.EPOLLHUP):
            cnet.getsockopt(self.fd, cnet.SOL_SOCKET, cnet.SO_ERROR, cython.address(error), cython.address(size))
            if error:
                return self.die(F_CONNECT, f"connect failed: {error_text(error)}")
            self.opened_tcp = True
            if self.tls is None:
                self.established()
        if self.tls is not None and not self.tls.established:
            if not self.opened_tcp or not self.secured():
                return 0
        if self.wlen and events & cnet.EPOLLOUT:
            if self.flush() < 0:  # what came before the reset is still to be read
                self.readable = True
                self.half_closed = True
            elif self.wlen:
                self.poller.arm(self, self.core.send_ms)
            else:
                self.watch_over()
                self.write()
        if self.readable:
            return self.pump()
        return 0

    @cython.cfunc
    def secured(self) -> cython.bint:
        """Goes on with the TLS handshake. True: it is done."""
        result: cython.int = self.handshake()
        if result == 0:
            return False
        if result < 0:
            self.die(F_CONNECT, f"the TLS handshake failed: {self.tls.failure}")
            return False
        if not self.tls.http2:
            self.die(F_CONNECT, "the TLS handshake failed: the server doesn't offer HTTP/2 (ALPN)")
            return False
        self.established()
        return self.fd >= 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def fits(self, plan: UpstreamPlan, name: str) -> cython.bint:
        """Whether it was secured as this upstream's connections are, for the same name."""
        if name is None:
            return self.tls is None
        return self.tls is not None and self.tls.server is plan.tls and self.tls.server_name == name

    @cython.cfunc
    def established(self) -> cython.int:
        """The connection stands: what waits goes out."""
        u: Http2Upstream
        self.connecting = False
        for entry in list(self.streams.values()):
            u = cython.cast(Http2Upstream, entry)
            u.connecting = False
            if u.x is not None:
                u.arm(u.plan.send_ms if u.wlen else u.plan.read_ms)
        return self.write()

    @cython.cfunc
    def on_timeout(self) -> cython.int:
        if self.wlen:
            return self.die(F_SEND_TIMEOUT, "sending to the upstream timed out")
        if len(self.streams) == 0:
            self.retire()
            return self.rest()
        return self.ask_for_life()

    @cython.cfunc
    def watch_over(self) -> cython.int:
        """While streams are open: finds out when nothing comes."""
        self.heard = self.pinged = False
        if self.core.upstream_ping_ms and len(self.streams):
            self.poller.arm(self, self.core.upstream_ping_ms)
        else:
            self.poller.disarm(self)
        return 0

    @cython.cfunc
    def ask_for_life(self) -> cython.int:
        """Streams are open, and the time that nothing may come is over."""
        if self.heard or self.connecting:
            return self.watch_over()
        if self.pinged:
            return self.die(F_READ_TIMEOUT, "the upstream doesn't answer PING")
        self.pinged = True
        ng.nghttp2_submit_ping(self.session, ng.NGHTTP2_FLAG_NONE, cython.NULL)
        self.poller.arm(self, min(self.core.upstream_ping_ms, PING_ANSWER_MS))
        return self.want_flush()

    @cython.cfunc
    def on_failure(self) -> cython.int:
        self.inside = False
        return self.die(F_CLOSED, "internal error")

    # ---- reading

    @cython.cfunc
    def pump(self) -> cython.int:
        n: cython.Py_ssize_t
        r: cython.Py_ssize_t
        if self.inside:
            return 0
        while self.readable and not self.dead:
            n = self.receive(self.inbuf, BUFFER)
            if n <= 0:
                if n == -1:
                    return 0
                if self.connecting:
                    return self.die(F_CONNECT, "the connection was refused")
                return self.die(F_CLOSED, "the connection was reset" if n == -2 else "the connection closed")
            self.heard = True
            self.inside = True
            r = ng.nghttp2_session_mem_recv(self.session, cython.cast(cython.pointer(uint8_t), self.inbuf), n)
            self.inside = False
            if r < 0:
                return self.die(F_MALFORMED, f"HTTP/2: {said(ng.nghttp2_strerror(cython.cast(cython.int, r)))}")
            if self.chatter > CHATTER_LIMIT:
                return self.die(F_MALFORMED, "HTTP/2: a flood of frames that bring nothing")
            if not self.broken:
                self.write()
        return 0

    @cython.cfunc
    def take_head(self, u: Http2Upstream, last: cython.bint) -> cython.int:
        """A whole response head, interim or final, stands in self.head; `last`: no body follows."""
        x: Exchange = u.x
        m: cython.pointer(Parsed) = cython.address(x.resp.m)
        if not self.read_head(m) or m.status == 101:
            return u.failed(F_MALFORMED, "the response head is malformed")
        if last and m.content_length < 0 and m.status != 204 and m.status != 304 and not x.head_sent:
            # An empty body is told as such, so that its end can go with the head: gRPC clients insist on that.
            self.head_len -= 2
            if self.put_head(b"content-length: 0\r\n", 19) < 0 or not self.read_head(m):
                return u.failed(F_MALFORMED, "the response head is malformed")
        u.received = 1
        if m.status < 200:
            u.interims += 1
            if u.interims > INTERIM_LIMIT:
                return u.failed(F_MALFORMED, "too many interim responses")
            u.arm(u.plan.read_ms)
            return x.down.interim(self.head, m)
        u.state = S_BODY
        if x.lead is not None:
            x = winner(x, m)
            if x is None:
                return 0
            m = cython.address(x.resp.m)
        if not on_response_head(x, self.head, m):
            return 0
        if x.gathered is None:
            x.down.begin_response(x, self.head, m, b"", 0)
        if u.x is not x:
            return 0
        if last:
            return u.whole()
        return u.arm(u.plan.read_ms)

    @cython.cfunc
    @cython.exceptval(check=False)
    def read_head(self, m: cython.pointer(Parsed)) -> cython.bint:
        """Ends and parses the head that was put together; False: it is malformed."""
        return (
            self.put_head(b"\r\n", 2) == 0
            and parse_response(self.head, self.head_len, m, cython.address(self.core.response_limits)) == self.head_len
        )

    @cython.cfunc
    @cython.exceptval(check=False)
    def put_head(self, p: cython.p_const_char, n: cython.size_t) -> cython.int:
        grown: cython.p_char
        if self.head_len + cython.cast(cython.int, n) > self.head_cap:
            grown = cython.cast(cython.p_char, realloc(self.head, 2 * (self.head_len + n)))
            if grown == cython.NULL:
                return -1
            self.head = grown
            self.head_cap = 2 * (self.head_len + cython.cast(cython.int, n))
        memcpy(self.head + self.head_len, p, n)
        self.head_len += cython.cast(cython.int, n)
        return 0

    # ---- writing

    @cython.cfunc
    def submit(
        self, u: Http2Upstream, x: Exchange, p: cython.p_const_char, n: cython.int, last: cython.bint
    ) -> cython.int:
        """Queues the request whose HTTP/1.1 head stands at p; -1: no stream could be opened."""
        provider: nghttp2_data_provider
        i: cython.int = 0
        k: cython.int
        e: cython.int
        v: cython.int
        count: cython.int = 4
        name_len: cython.int
        while p[i] != b" ":
            i += 1
        k = i + 1
        while p[k] != b" ":
            k += 1
        self.field(0, b":method", 7, p, i)
        self.field(1, b":scheme", 7, b"https", 4 if self.tls is None else 5)
        self.field(2, b":path", 5, p + i + 1, k - i - 1)
        i = k + 11  # " HTTP/1.1" and the line's end
        while i < n - 2:
            e = cython.cast(cython.int, cython.cast(cython.p_const_char, memchr(p + i, 10, n - i)) - p) - 1
            k = i
            while p[k] != b":":
                k += 1
            name_len = k - i
            v = k + 1
            k = e
            while v < k and (p[v] == b" " or p[v] == b"\t"):
                v += 1
            while k > v and (p[k - 1] == b" " or p[k - 1] == b"\t"):
                k -= 1
            if name_len == 4 and name_is(p + i, b"host", 4):
                self.field(3, b":authority", 10, p + v, k - v)
            elif not hop_by_hop(p + i, name_len):
                if count + 2 > self.fields_cap:
                    self.more_fields()
                self.field(count, p + i, name_len, p + v, k - v)
                count += 1
            i = e + 2
        if u.plan.grpc or x.req.m.te_trailers:
            self.field(count, b"te", 2, b"trailers", 8)
            count += 1
        provider.source.ptr = cython.NULL
        provider.read_callback = cython.cast(nghttp2_data_source_read_callback, read_body)
        u.id = ng.nghttp2_submit_request(
            self.session,
            cython.NULL,
            self.fields,
            count,
            cython.NULL if last else cython.address(provider),
            cython.cast(cython.p_void, u),
        )
        if u.id < 0:
            self.retire()
            return -1
        u.ended = last
        self.streams[u.id] = u
        self.opened += 1
        self.live += 1
        if self.opened == 1 or len(self.streams) == 1:
            self.watch_over()
        if self.opened >= u.plan.keep_requests:
            self.retire()
        self.keep_idle_ms = u.plan.keep_idle_ms
        self.keep_size = u.plan.keep_size
        return self.want_flush()

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def field(
        self,
        i: cython.int,
        name: cython.p_const_char,
        name_len: cython.int,
        value: cython.p_const_char,
        value_len: cython.int,
    ) -> cython.void:
        f: cython.pointer(nghttp2_nv) = cython.address(self.fields[i])
        f.name = cython.cast(cython.pointer(uint8_t), name)
        f.namelen = name_len
        f.value = cython.cast(cython.pointer(uint8_t), value)
        f.valuelen = value_len
        f.flags = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def send_trailers(self, id: cython.int, trailers: list) -> cython.bint:
        """Ends a request with these fields; False: without."""
        name: bytes
        value: bytes
        i: cython.int = 0
        for pair in trailers:
            if i == self.fields_cap:
                break
            name = cython.cast(bytes, cython.cast(tuple, pair)[0])
            value = cython.cast(bytes, cython.cast(tuple, pair)[1])
            self.field(i, name, cython.cast(cython.int, len(name)), value, cython.cast(cython.int, len(value)))
            i += 1
        return ng.nghttp2_submit_trailer(self.session, id, self.fields, i) == 0

    @cython.cfunc
    def more_fields(self) -> cython.int:
        grown: cython.p_void = realloc(self.fields, 2 * self.fields_cap * cython.sizeof(nghttp2_nv))
        if grown == cython.NULL:
            raise MemoryError
        self.fields = cython.cast(cython.pointer(nghttp2_nv), grown)
        self.fields_cap *= 2
        return 0

    @cython.cfunc
    def want_flush(self) -> cython.int:
        """Has frames sent before the loop sleeps."""
        if not self.flushing and not self.inside and not self.connecting and not self.dead and self.wlen == 0:
            self.flushing = True
            self.poller.later(self)
        return 0

    @cython.cfunc
    def write(self) -> cython.int:
        """Sends the frames that are due, as far as the socket takes them."""
        data: cython.pointer(cython.const[uint8_t]) = cython.NULL
        n: cython.Py_ssize_t = 0
        used: cython.Py_ssize_t = 0
        u: Http2Upstream
        x: Exchange
        if self.inside or self.dead or self.connecting or self.wlen:
            return 0
        self.inside = True
        while self.wlen == 0 and not self.broken:
            n = ng.nghttp2_session_mem_send(self.session, cython.address(data))
            if n <= 0:
                break
            if used + n > BUFFER:
                self.send(self.outbuf, used)
                used = 0
            if n > BUFFER or self.wlen:
                self.send(cython.cast(cython.p_const_char, data), n)
            else:
                memcpy(self.outbuf + used, data, n)
                used += n
        if used:
            self.send(self.outbuf, used)
        self.inside = False
        if n < 0:
            return self.die(F_CLOSED, f"HTTP/2: {said(ng.nghttp2_strerror(cython.cast(cython.int, n)))}")
        if self.broken:  # what came before the break is still to be read
            self.readable = True
            self.half_closed = True
            self.pump()
            return self.die(F_CLOSED, "the connection broke")
        if self.wlen:
            self.poller.arm(self, self.core.send_ms)
        while len(self.emptied):
            u = cython.cast(Http2Upstream, self.emptied.pop())
            x = u.x
            if x is not None and u.wlen == 0:
                u.arm(u.plan.read_ms)
                if x.down is not None:
                    x.down.resume()
        if self.dead:
            return 0
        if not ng.nghttp2_session_want_read(self.session) and not ng.nghttp2_session_want_write(self.session):
            return self.die(F_MALFORMED, "the upstream broke HTTP/2")
        if len(self.streams) == 0:
            return self.rest()
        return 0

    # ---- life

    @cython.cfunc
    def rest(self) -> cython.int:
        """No stream is open: waits for the next one, or closes."""
        resting: cython.int = 0
        n: cython.Py_ssize_t
        data: cython.pointer(cython.const[uint8_t]) = cython.NULL
        c: Http2UpstreamConnection
        if self.dead or self.connecting or self.inside or len(self.streams):
            return 0
        if not self.retiring and self.keep_idle_ms > 0 and not self.core.draining:
            for entry in self.endpoint.http2:
                c = cython.cast(Http2UpstreamConnection, entry)
                if c is not self and len(c.streams) == 0:
                    resting += 1
            if resting < self.keep_size:
                if self.wlen == 0:
                    self.poller.arm(self, self.keep_idle_ms)
                return 0
        ng.nghttp2_session_terminate_session(self.session, ng.NGHTTP2_NO_ERROR)
        n = ng.nghttp2_session_mem_send(self.session, cython.address(data))
        if n > 0:
            self.send(cython.cast(cython.p_const_char, data), n)
        return self.die(F_CLOSED, "the connection is not kept")

    @cython.cfunc
    def retire(self) -> cython.int:
        """Takes no further exchanges."""
        self.retiring = True
        http2: list = self.endpoint.http2
        i: cython.Py_ssize_t
        for i in range(len(http2)):
            if http2[i] is self:
                http2.pop(i)
                break
        return 0

    @cython.cfunc
    def die(self, reason: cython.int, detail: str) -> cython.int:
        """Closes; what is still on it has failed."""
        u: Http2Upstream
        if self.dead:
            return 0
        self.dead = True
        self.retire()
        self.close()
        streams: dict = self.streams
        self.streams = {}
        self.emptied = []
        for entry in streams.values():
            u = cython.cast(Http2Upstream, entry)
            u.lost(reason, detail)
        if self.session != cython.NULL and not self.inside:
            ng.nghttp2_session_del(self.session)
            self.session = cython.NULL
        return 0

    @cython.cfunc
    def stumbled(self, u: Http2Upstream, error: object) -> cython.int:
        """An exception within a callback: it costs the exchange, not the connection."""
        if self.poller.on_error is not None:
            self.poller.on_error(error, self)
        if u is not None and u.x is not None and u.x.down is not None:
            u.x.down.abort()
        return 0


@cython.cfunc
@cython.exceptval(check=False)
def stream_of(session: cython.pointer(nghttp2_session), id: int32_t) -> cython.p_void:
    return ng.nghttp2_session_get_stream_user_data(session, id) if id else cython.NULL


@cython.cfunc
@cython.exceptval(check=False)
def read_body(
    session: cython.pointer(nghttp2_session),
    id: int32_t,
    buf: cython.pointer(uint8_t),
    n: cython.size_t,
    flags: cython.pointer(uint32_t),
    source: cython.pointer(nghttp2_data_source),
    data: cython.p_void,
) -> cython.Py_ssize_t:
    """The next bytes of a request body."""
    c: Http2UpstreamConnection = cython.cast(Http2UpstreamConnection, data)
    p: cython.p_void = stream_of(session, id)
    u: Http2Upstream
    k: cython.int
    if p == cython.NULL:
        return ng.NGHTTP2_ERR_DEFERRED
    u = cython.cast(Http2Upstream, p)
    k = u.wlen
    if k == 0 and not u.ended:
        u.deferred = True
        return ng.NGHTTP2_ERR_DEFERRED
    if cython.cast(cython.size_t, k) > n:
        k = cython.cast(cython.int, n)
    if k:
        memcpy(buf, u.wbuf + u.woff, k)
        u.wlen -= k
        u.woff = u.woff + k if u.wlen else 0
        c.chatter = 0
        if u.wlen:
            u.arm(u.plan.send_ms)
        else:
            try:
                c.emptied.append(u)
            except MemoryError:
                return ng.NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    if u.wlen == 0 and u.ended:
        flags[0] = ng.NGHTTP2_DATA_FLAG_EOF
        if u.x is not None and u.x.request_trailers and c.send_trailers(id, u.x.request_trailers):
            flags[0] |= ng.NGHTTP2_DATA_FLAG_NO_END_STREAM
    return k


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def hop_by_hop(p: cython.p_const_char, n: cython.int) -> cython.bint:
    """Fields of a request that HTTP/2 has no place for (RFC 9113, section 8.2.2)."""
    if n == 2:
        return name_is(p, b"te", 2)
    if n == 7:
        return name_is(p, b"upgrade", 7)
    if n == 10:
        return name_is(p, b"connection", 10) or name_is(p, b"keep-alive", 10)
    if n == 14:
        return name_is(p, b"http2-settings", 14)
    if n == 16:
        return name_is(p, b"proxy-connection", 16)
    return n == 17 and name_is(p, b"transfer-encoding", 17)


def error_text(error: int) -> str:
    import os

    return os.strerror(error).lower()
