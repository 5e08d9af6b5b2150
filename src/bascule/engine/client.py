# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""HTTP/1.1 towards the client: heads and bodies in, responses out, one exchange at a time, pipelining by not reading
on.

Bytes are consumed from the receive buffer shared by all connections; only what cannot be used yet is kept in the
connection's own.
"""

import cython
from cython.cimports.bascule.engine.arrival import refuse_head, start
from cython.cimports.bascule.engine.ending import client_gone, fail, finish
from cython.cimports.bascule.engine.exchange import (
    BODY_CHUNKED,
    BODY_NONE,
    BODY_PLAIN,
    BODY_RAW,
    X_ANSWERED,
    Exchange,
    fresh,
)
from cython.cimports.bascule.engine.forward import (
    SKIP_LENGTH,
    SKIP_SERVER,
    put_added,
    put_fields,
    put_number,
    size_of_added,
)
from cython.cimports.bascule.engine.http2_client import make_http2
from cython.cimports.bascule.engine.outcome import drop_upstream
from cython.cimports.bascule.engine.parties import DRAIN_LAST, Core, Downstream, Upstream
from cython.cimports.bascule.engine.request_body import body_in, push_held, wants_body
from cython.cimports.bascule.engine.upstream_response import last_chunk
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.address import local_host
from cython.cimports.bascule.net.cnet import errno
from cython.cimports.bascule.net.stream import SCRATCH
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.chunk import CHUNK_DONE, chunk_reset, chunk_scan, chunk_step, trailer_bytes
from cython.cimports.bascule.wire.http1 import Parsed, leading_blank, name_is, parse_request
from cython.cimports.bascule.wire.proxy_protocol import PROXY_MAX, ProxyHeader
from cython.cimports.libc.string import memchr, memcmp, memcpy

from bascule.engine.pages import reason_of
from bascule.wire.chunk import trailer_fields

# How an HTTP/2 client begins that knows what it talks to (RFC 9113 3.4).
PREFACE = cython.declare(cython.p_const_char, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
PREFACE_LEN = cython.declare(cython.Py_ssize_t, 24)
DISCARD_LIMIT = cython.declare(cython.longlong, 1 << 20)  # request body bytes read and dropped to keep a connection
JOIN_LIMIT = cython.declare(
    cython.Py_ssize_t, 8192
)  # copying a body up to this size behind its head costs less than writev
LINGER_MS = cython.declare(cython.long, 2000)
# While draining: a request may be on its way already, from a client that is busy, or on a connection that is still new.
LAST_REQUEST_MS = cython.declare(cython.long, 500)
FIRST_REQUEST_MS = cython.declare(cython.long, 500)


@cython.cclass
class Http1Client(Downstream):
    def __repr__(self):
        return (
            f"<client fd={self.fd} state={self.state} served={self.served} in={self.rlen} out={self.wlen} {self.x!r}>"
        )

    # ---- events

    @cython.cfunc
    def on_event(self, events: cython.uint) -> cython.int:
        if self.fd < 0:
            return 0
        if self.broken:
            return self.gone()
        if events == 0:  # asked for by poller.later
            return self.feed_rest()
        if events & (cnet.EPOLLRDHUP | cnet.EPOLLHUP | cnet.EPOLLERR):
            if self.over and events & (cnet.EPOLLHUP | cnet.EPOLLERR):
                return self.gone()  # the tunnel's other direction broke too
            self.half_closed = True
            self.readable = True
            self.drained = False
        elif events & cnet.EPOLLIN:
            self.readable = True
            self.drained = False
        if self.unnamed and not self.introduced():
            return 0
        if self.tls is not None and not self.tls.established:
            if not self.greeted():
                return 0
        if self.wlen and events & cnet.EPOLLOUT:
            if self.flush() < 0:
                return self.gone()
            if self.wlen:
                self.poller.arm(self, self.core.send_ms)
            elif self.all_sent() or self.fd < 0:
                return 0
        if self.readable:
            return self.pump()
        return 0

    @cython.cfunc
    def greeted(self) -> cython.bint:
        """Goes on with the TLS handshake. True: it is done, and requests may come."""
        result: cython.int
        if self.wlen:  # of our certificates, more than the socket took at once
            if self.flush() < 0:
                self.gone()
                return False
            if self.wlen:
                return False
        if not self.readable:
            return False
        result = self.handshake()
        if result == 0:
            return False
        if result < 0:
            self.core.count_failure(self.tls.failure)
            if self.tls.plain_http:
                self.tls = None
                self.secure = False
                self.refuse(400)
            else:
                self.gone()
            return False
        self.core.handshakes += 1
        if self.tls.resumed:
            self.core.resumptions += 1
        if self.tls.challenge:
            self.gone()  # the certificate was all that was wanted
            return False
        if self.tls.http2:
            make_http2(self.core, self, b"", 0)
            return False
        return True

    def all_sent(self) -> bool:
        """All written bytes are out. True: the connection is closed or closing."""
        u: Upstream
        if self.state == C_CLOSING:
            self.linger()
            return True
        if self.x is not None:
            self.poller.disarm(self)
            u = self.x.up
            if u is not None:
                if self.state == C_TUNNEL:
                    u.tunnel_pump()
                else:
                    u.pump()
        else:
            self.await_request()
            self.feed_rest()
        return False

    @cython.cfunc
    def introduced(self) -> cython.bint:
        """Takes the PROXY header off the connection. True: it is done, what follows may be read."""
        header: ProxyHeader = ProxyHeader()
        n: cython.Py_ssize_t
        r: cython.int
        text: bytes
        if not self.readable:
            return False
        while True:
            n = cnet.recv(self.fd, self.core.scratch, PROXY_MAX, cnet.MSG_PEEK)
            if n >= 0 or errno != cnet.EINTR:
                break
        if n < 0 and errno == cnet.EAGAIN:
            self.readable = False
            return False
        r = header.take(self.core.scratch, n) if n > 0 else 0
        if r == 0 and n > 0 and not self.half_closed:
            self.readable = False  # the next byte tells itself
            return False
        if r <= 0:
            if n > 0:
                self.core.refused_proxies += 1
            self.gone()
            return False
        cnet.recv(self.fd, self.core.scratch, r, 0)
        self.unnamed = False
        self.proxied = header
        if header.source is not None:
            text = header.source.encode("ascii")
            self.host_len = cython.cast(cython.int, len(text))
            memcpy(self.host_text, cython.cast(cython.p_char, text), len(text))
            self.peer_port = header.source_port
            self.local_port = header.destination_port
            self.is_unix = False
        return True

    @cython.cfunc
    def on_timeout(self) -> cython.int:
        served: cython.long
        if self.fd < 0:
            return 0
        if self.unnamed:
            if self.introduced():
                return self.pump()
            if self.fd >= 0:
                self.core.refused_proxies += 1
            return self.gone()
        if self.state == C_LINGER or self.wlen:
            return self.gone()
        if self.state == C_HEAD:
            if self.rlen:
                return self.refuse(408)
            served = self.served
            self.readable = True  # a request that has come just now is answered
            self.pump()
            if self.fd >= 0 and self.state == C_HEAD and self.served == served and self.rlen == 0:
                return self.gone()
            return 0
        if self.state == C_BODY and self.x is not None:
            if self.x.state == X_ANSWERED:
                return self.gone()  # the rest of a body that was only read to be dropped
            self.close_after = True
            self.unread = True
            drop_upstream(self.x)
            return fail(self.x, 408, "the request body did not arrive in time")
        if self.state == C_TUNNEL:
            return self.gone()
        return 0

    @cython.cfunc
    def on_failure(self) -> cython.int:
        return self.gone()

    @cython.cfunc
    def gone(self) -> cython.int:
        """Closes at once, whatever was going on."""
        x: Exchange = self.x
        if self.fd >= 0:
            self.core.active -= 1
            self.close()
        self.x = None
        if x is not None:
            client_gone(x)
        return 0

    @cython.cfunc
    def abort(self) -> cython.int:
        return self.gone()

    # ---- reading

    @cython.cfunc
    def pump(self) -> cython.int:
        """Reads as long as the kernel has bytes and somebody wants them."""
        n: cython.Py_ssize_t
        k: cython.int
        u: Upstream
        if self.busy:
            return 0
        while self.readable and self.fd >= 0:
            if self.state == C_HEAD:
                if self.wlen:
                    return 0  # a client that does not read its responses gets no further ones
            elif self.state == C_BODY:
                if not wants_body(self.x):
                    if self.half_closed and self.rlen == 0 and self.at_end():
                        return self.gone()
                    return 0
            elif self.state == C_TUNNEL:
                u = self.x.up
                if u is None or self.over:
                    return 0
                if u.wlen and (self.x.relay is None or not self.x.relay.closing):
                    return 0
            elif self.state != C_LINGER:
                # The response is on its way: nothing to read, but an end of the connection ends the exchange.
                if self.half_closed and self.rlen == 0 and self.at_end():
                    return self.gone()
                return 0
            if self.rlen and self.state != C_LINGER:
                if self.reserve(16384) < 0:
                    return self.gone()
                n = self.receive(self.rbuf + self.rlen, self.rcap - self.rlen)
            else:
                n = self.receive(self.core.scratch, SCRATCH)
            if n <= 0:
                if n == -1:
                    return 0
                if self.state == C_TUNNEL and n == 0:
                    return self.half_over()
                return self.gone()
            if self.state == C_LINGER:
                self.left -= n
                if self.left < 0:
                    return self.gone()
                continue
            if self.state == C_TUNNEL:
                u = self.x.up
                if self.x.relay is not None:
                    if self.x.relay.from_client(self.core.scratch, n) < 0:
                        return self.gone()
                    if self.fd < 0:
                        return 0
                elif u.send(self.core.scratch, n) < 0:
                    return self.gone()
                # One time limit for both directions, unless the upstream is what does not read.
                self.poller.arm(u, self.x.upstream.send_ms if u.wlen else self.x.idle_ms)
                continue
            if self.rlen:
                self.rlen += cython.cast(cython.int, n)
                k = self.feed(self.rbuf, self.rlen)
                if self.fd >= 0:
                    self.consume(k)
            else:
                k = self.feed(self.core.scratch, n)
                if self.fd >= 0 and k < n and self.state != C_LINGER:
                    if self.stash(self.core.scratch + k, n - k) < 0:
                        return self.gone()
        return 0

    @cython.cfunc
    def half_over(self) -> cython.int:
        """The client sends no more into the tunnel: the upstream is told, and may go on. All before it is sent."""
        self.over = True
        if self.x.up.over:
            return self.gone()
        self.x.up.end_output()
        return 0

    @cython.cfunc
    def feed(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        """Consumes what it can of p; returns how much."""
        before: cython.Py_ssize_t
        self.busy = True
        self.fp = p
        self.fn = n
        self.fk = 0
        try:
            while self.fk < self.fn and self.fd >= 0:
                before = self.fk
                if self.state == C_HEAD:
                    if self.wlen:
                        break
                    self.take_head()
                elif self.state == C_BODY:
                    if not wants_body(self.x):
                        break
                    self.take_body()
                else:
                    break
                if self.fk == before:
                    break
        finally:
            self.busy = False
        return cython.cast(cython.int, self.fk)

    @cython.cfunc
    def feed_rest(self) -> cython.int:
        """Goes on with bytes kept earlier, then with the kernel's."""
        k: cython.int
        if self.busy or self.fd < 0:
            return 0
        if self.rlen:
            k = self.feed(self.rbuf, self.rlen)
            if self.fd < 0:
                return 0
            self.consume(k)
        if self.readable:
            return self.pump()
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def await_request(self) -> cython.void:
        """Sets the time that the next request has to begin."""
        ms: cython.long = self.core.keepalive_ms if self.served else self.core.header_ms
        if self.core.draining:
            ms = LAST_REQUEST_MS if self.served and not self.rlen else FIRST_REQUEST_MS
        self.poller.arm(self, ms)

    @cython.cfunc
    @cython.exceptval(check=False)
    def more_came(self) -> cython.bint:
        """Whether bytes of a further request may be here."""
        return self.readable or (self.fk < self.fn if self.busy else self.rlen > 0)

    @cython.cfunc
    def take_head(self) -> cython.int:
        core: Core = self.core
        p: cython.p_const_char = self.fp + self.fk
        n: cython.Py_ssize_t = self.fn - self.fk
        r: cython.Py_ssize_t
        x: Exchange
        m: cython.pointer(Parsed)
        skip: cython.int
        if self.http2 and self.served == 0 and p[0] == 80:
            skip = cython.cast(cython.int, n if n < PREFACE_LEN else PREFACE_LEN)
            if memcmp(p, PREFACE, skip) == 0 and skip > 1:
                if skip == PREFACE_LEN:
                    make_http2(core, self, p, n)
                    return 0
                if not self.head_timed:
                    self.head_timed = True
                    self.poller.arm(self, FIRST_REQUEST_MS if core.draining else core.header_ms)
                return 0
        skip = leading_blank(p, n)
        if skip:
            self.fk += skip
            p += skip
            n -= skip
            if n == 0:
                return 0
        if (
            self.scanned
            and n < 2 * self.scanned
            and not ends_head(p, self.scanned, n)
            and n < core.request_limits.max_head
        ):
            return 0  # the head is still incomplete: no need to parse it anew at each byte
        x = fresh(core)
        m = cython.address(x.req.m)
        r = parse_request(p, n, m, cython.address(core.request_limits))
        if r == 0:
            core.spare.append(x)
            self.scanned = cython.cast(cython.int, n)
            if not self.head_timed:
                self.head_timed = True
                self.poller.arm(self, FIRST_REQUEST_MS if core.draining else core.header_ms)
            return 0
        self.scanned = 0
        self.head_timed = False
        x.down = self
        x.t_start = self.poller.now
        x.sent_before = self.sent
        self.x = x
        self.served += 1
        if r < 0:
            self.takes_chunks = True
            self.close_after = True
            self.unread = True
            self.state = C_WAIT
            return refuse_head(x, cython.cast(cython.int, -r))
        x.req.copy(p, r)
        if self.quic is not None:
            m.minor = 3
            x.req.data[m.first_line_end - 5] = 51  # "HTTP/3.0", for logs
            x.req.data[m.first_line_end - 3] = 48
        self.fk += r
        self.poller.disarm(self)
        self.takes_chunks = m.minor != 0
        self.close_after = m.close != 0 or self.served >= core.keepalive_requests
        x.has_body = m.chunked != 0 or m.content_length > 0
        x.body_done = not x.has_body
        if x.has_body:
            self.state = C_BODY
            self.left = m.content_length
            if m.chunked:
                chunk_reset(cython.address(self.chunk))
                self.trailer_section = None
            self.poller.arm(self, core.body_ms)
        else:
            self.state = C_WAIT
        return start(x)

    @cython.cfunc
    def take_body(self) -> cython.int:
        x: Exchange = self.x
        p: cython.p_const_char = self.fp + self.fk
        n: cython.Py_ssize_t = self.fn - self.fk
        r: cython.Py_ssize_t
        off: cython.Py_ssize_t = 0
        k: cython.Py_ssize_t = 0
        t: cython.int
        last: cython.bint
        self.poller.arm(self, self.core.body_ms)
        if not x.req.m.chunked:
            if n > self.left:
                n = self.left
            self.left -= n
            last = self.left == 0
            self.fk += n
            if last:
                self.body_complete()
            body_in(x, p, n, p, n, last)
            return 0
        # Only its framing is followed, unless somebody takes the data off it, or counts them.
        if x.held_want < 0 and not x.recode and not x.body_limit and (x.up is None or not x.up.bare):
            r = chunk_scan(cython.address(self.chunk), p, n)
            k = r
        else:
            t = trailer_bytes(cython.address(self.chunk))
            r = chunk_step(cython.address(self.chunk), p, n, cython.address(off), cython.address(k))
            t = trailer_bytes(cython.address(self.chunk)) - t
            if r >= t and t > 0:
                self.keep_trailers(p[r - t : r])
        if r < 0:
            self.close_after = True
            self.unread = True
            self.fk = self.fn
            drop_upstream(x)
            if x.state >= 4:  # an answer has begun: all that is left is to cut it
                return self.gone()
            return fail(x, 400, "the chunked request body is malformed")
        last = self.chunk.state == CHUNK_DONE
        self.fk += r
        if last:
            self.body_complete()
        body_in(x, p, r, p + off, k, last)
        return 0

    @cython.cfunc
    def keep_trailers(self, piece: bytes) -> cython.int:
        """More of the trailer section came. Where a body goes on as it came, it goes with it."""
        if self.trailer_section is not None:
            piece = self.trailer_section + piece
        if self.chunk.state != CHUNK_DONE:
            self.trailer_section = piece
            return 0
        self.trailer_section = None
        if len(piece) > 2:
            self.x.request_trailers = trailer_fields(piece)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def body_complete(self) -> cython.void:
        self.state = C_WAIT
        if self.wlen == 0:
            self.poller.disarm(self)

    @cython.cfunc
    def resume(self) -> cython.int:
        """The exchange takes body bytes (again)."""
        # What was held goes first, also in the middle of feed(): the bytes that follow come right after it.
        if self.x is not None and self.x.held is not None and self.x.up is not None and not self.x.body_sent:
            if self.x.request.body_out is None and not push_held(self.x):
                return 0
        if self.busy:
            return 0
        if self.state == C_BODY:
            self.poller.arm(self, self.core.body_ms)
        return self.feed_rest()

    @cython.cfunc
    def more_body(self, x: Exchange) -> cython.int:
        """A plugin waits for body bytes: those that have come, then those that come."""
        if x.req.m.expect_continue and not x.continued and self.takes_chunks:
            x.continued = True
            if self.send(b"HTTP/1.1 100 Continue\r\n\r\n", 25) < 0:
                self.poller.later(self)
                return 0
        if not self.busy:
            return self.feed_rest()
        while self.fk < self.fn and self.state == C_BODY and x.held_want >= 0:
            self.take_body()
        return 0

    # ---- writing

    @cython.cfunc
    def written(self, result: cython.int) -> cython.int:
        """After a write: breaks are seen to in the next turn, a full socket gets its time limit."""
        if result < 0:
            self.poller.later(self)
        elif self.wlen:
            self.poller.arm(self, self.core.send_ms)
        return 0

    @cython.cfunc
    def status_line(self, o: cython.p_char, status: cython.int) -> cython.p_char:
        text: bytes
        memcpy(o, b"HTTP/1.1 ", 9)
        o = put_number(o + 9, status)
        o[0] = 32
        o += 1
        text = cython.cast(str, reason_of(status)).encode("latin-1")
        memcpy(o, cython.cast(cython.p_char, text), len(text))
        o += len(text)
        o[0] = 13
        o[1] = 10
        return o + 2

    @cython.cfunc
    @cython.exceptval(check=False)
    def put_connection(self, o: cython.p_char, x: Exchange) -> cython.p_char:
        if self.core.draining and (self.core.draining == DRAIN_LAST or not self.more_came()):
            self.close_after = True
        if self.close_after:
            memcpy(o, b"Connection: close\r\n", 19)
            return o + 19
        if not self.takes_chunks:
            memcpy(o, b"Connection: keep-alive\r\n", 24)
            return o + 24
        return o

    @cython.cfunc
    def put_own(self, o: cython.p_char, dated: cython.bint) -> cython.p_char:
        core: Core = self.core
        text: bytes = core.server_line
        memcpy(o, cython.cast(cython.p_char, text), len(text))
        o += len(text)
        if not dated:
            core.fresh_date()
            text = core.date_line
            memcpy(o, cython.cast(cython.p_char, text), len(text))
            o += len(text)
        if self.alt_svc is not None:
            text = self.alt_svc
            memcpy(o, cython.cast(cython.p_char, text), len(text))
            o += len(text)
        return o

    @cython.cfunc
    def put_upstream_status(self, o: cython.p_char, x: Exchange) -> cython.p_char:
        """What all tries came to, the last one being what this response is about."""
        text: bytes
        memcpy(o, b"X-APISIX-Upstream-Status: ", 26)
        o += 26
        if x.tries is not None:
            text = "".join([f"{status}, " for _, status, _ in x.tries]).encode()
            memcpy(o, cython.cast(cython.p_char, text), len(text))
            o += len(text)
        o = put_number(o, x.upstream_status)
        o[0] = 13
        o[1] = 10
        return o + 2

    @cython.cfunc
    def begin_response(
        self,
        x: Exchange,
        p: cython.p_const_char,
        m: cython.pointer(Parsed),
        body: cython.p_const_char,
        n: cython.Py_ssize_t,
    ) -> cython.int:
        core: Core = self.core
        r: Response = x.response
        added: list = None
        o: cython.p_char
        i: cython.int
        skip: cython.int = SKIP_SERVER
        dated: cython.bint = False
        has_length: cython.bint = m.content_length >= 0
        if x.resp_kept:
            p = x.resp.data
            added = r.added
            has_length = (has_length and x.resp.find(b"content-length", 14, 0) >= 0) or r.body_length is not None
        if x.body_mode == BODY_CHUNKED or x.status == 204:
            skip |= SKIP_LENGTH
        elif x.body_mode == BODY_PLAIN and not has_length:
            self.close_after = True
        if x.has_body and not x.body_done and x.req.m.expect_continue and not x.continued:
            self.close_after = True  # whether its body will still come, only the client knows
        core.need_out(
            m.head_len
            + 512
            + size_of_added(added)
            + size_of_tries(x)
            + (cython.cast(cython.int, n) if n <= JOIN_LIMIT else 0)
        )
        o = core.out
        if r is not None and r.status != m.status:
            o = self.status_line(o, r.status)
        else:
            memcpy(o, p, m.first_line_end)
            o[7] = 49  # HTTP/1.1, whatever the upstream speaks
            o += m.first_line_end
        o = put_fields(o, p, m, skip)
        for i in range(m.nfields):
            if m.fields[i].name_len == 4 and name_is(p + m.fields[i].name_off, b"date", 4):
                dated = True
                break
        o = put_added(o, added)
        o = self.put_own(o, dated)
        if x.body_mode == BODY_CHUNKED or (x.body_mode == BODY_RAW and m.chunked):
            memcpy(o, b"Transfer-Encoding: chunked\r\n", 28)
            o += 28
        if x.upstream_status >= 500 or core.show_upstream_status:
            o = self.put_upstream_status(o, x)
        o = self.put_connection(o, x)
        o[0] = 13
        o[1] = 10
        o += 2
        x.head_bytes = o - core.out
        if n <= JOIN_LIMIT:
            memcpy(o, body, n)
            return self.written(self.send(core.out, o - core.out + n))
        return self.written(self.send2(core.out, o - core.out, body, n))

    @cython.cfunc
    def interim(self, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
        core: Core = self.core
        o: cython.p_char
        if not self.takes_chunks:
            return 0  # HTTP/1.0 knows no interim responses
        if m.status == 100:
            if self.x.continued:
                return 0
            self.x.continued = True
        core.need_out(m.head_len + 64)
        o = core.out
        memcpy(o, p, m.first_line_end)
        o[7] = 49
        o = put_fields(o + m.first_line_end, p, m, 0)
        o[0] = 13
        o[1] = 10
        return self.written(self.send(core.out, o + 2 - core.out))

    @cython.cfunc
    def data(self, x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        head: cython.char[24]
        k: cython.int = 0
        d: cython.Py_ssize_t = n
        i: cython.int
        if n == 0 or x.body_mode == BODY_NONE:
            return 0
        if x.body_mode != BODY_CHUNKED:
            return self.written(self.send(p, n))
        while d > 0:  # size of the chunk in hexadecimal, from the right
            k += 1
            d >>= 4
        d = n
        for i in range(k):
            head[k - 1 - i] = cython.cast(cython.char, (48 if (d & 15) < 10 else 87) + (d & 15))
            d >>= 4
        head[k] = 13
        head[k + 1] = 10
        if self.send2(head, k + 2, p, n) < 0:
            return self.written(-1)
        return self.written(self.send(b"\r\n", 2))

    @cython.cfunc
    def end(self, x: Exchange) -> cython.int:
        text: bytes
        if x.body_mode == BODY_CHUNKED:
            text = last_chunk(x.trailers)
            return self.written(self.send(text, len(text)))
        return 0

    @cython.cfunc
    def answer(self, x: Exchange, r: Response) -> cython.int:
        core: Core = self.core
        body: bytes = r.body if r.body is not None else b""
        o: cython.p_char
        bodyless: cython.bint = r.status == 204 or r.status == 304 or r.status < 200
        n: cython.Py_ssize_t = len(body)
        length: cython.Py_ssize_t = n
        if x.head_request and r.body_length is not None:
            length = r.body_length
        if x.has_body and not x.body_done:
            # The rest of the request is read and dropped when that is little; else the connection ends with the answer.
            if (x.req.m.expect_continue and not x.continued) or x.req.m.chunked or self.left > DISCARD_LIMIT:
                self.close_after = True
            if self.close_after:
                self.unread = True
        core.need_out(1024 + size_of_added(r.added) + size_of_tries(x))
        o = self.status_line(core.out, r.status)
        o = put_added(o, r.added)
        o = self.put_own(o, r.find("date") is not None)
        if not bodyless and length >= 0:
            memcpy(o, b"Content-Length: ", 16)
            o = put_number(o + 16, length)
            o[0] = 13
            o[1] = 10
            o += 2
        if x.source != 1 and x.upstream_status and (x.upstream_status >= 500 or core.show_upstream_status):
            o = self.put_upstream_status(o, x)
        o = self.put_connection(o, x)
        o[0] = 13
        o[1] = 10
        o += 2
        x.head_bytes = o - core.out
        if bodyless or x.head_request:
            n = 0
        self.written(self.send2(core.out, o - core.out, body, n))
        if x.has_body and not x.body_done and not self.close_after:
            if not self.busy:
                return self.feed_rest()
            return 0
        return finish(x)

    @cython.cfunc
    def finished(self, x: Exchange) -> cython.int:
        x.sent_before = self.total_sent() - x.sent_before
        self.x = None
        if self.fd < 0:
            return 0
        if self.state == C_TUNNEL:
            return self.gone()
        if self.state == C_BODY:  # the rest of a body is not a request
            self.close_after = True
            self.unread = True
        if self.close_after:
            return self.wind_up()
        self.state = C_HEAD
        if self.wlen == 0:
            self.await_request()
        if not self.busy:
            # Pipelined requests go on from the loop, not from here: the stack stays flat.
            if self.rlen or self.readable:
                self.poller.later(self)
        return 0

    @cython.cfunc
    def wind_up(self) -> cython.int:
        """Closes when all that was written is out."""
        if self.rlen:
            self.unread = True
        if self.wlen:
            self.state = C_CLOSING
            self.poller.arm(self, self.core.send_ms)
            return 0
        return self.linger()

    @cython.cfunc
    def linger(self) -> cython.int:
        """Closing with bytes unread would reset the connection, our last answer with it (RFC 9112, section 9.6)."""
        if not self.unread or self.half_closed:
            return self.gone()
        self.state = C_LINGER
        if not self.busy:  # else feed() still counts them
            self.consume(self.rlen)
        self.left = DISCARD_LIMIT
        self.end_output()
        self.poller.arm(self, LINGER_MS)
        if self.readable and not self.busy:
            return self.pump()
        if self.readable:
            self.poller.later(self)
        return 0

    @cython.cfunc
    def refuse(self, status: cython.int) -> cython.int:
        """An error answer where there is no exchange: a head that did not arrive in time."""
        core: Core = self.core
        o: cython.p_char
        core.refused_heads += 1
        self.close_after = True
        self.unread = True
        core.need_out(1024)
        o = self.status_line(core.out, status)
        o = self.put_own(o, False)
        memcpy(o, b"Content-Length: 0\r\nConnection: close\r\n\r\n", 40)
        self.written(self.send(core.out, o + 40 - core.out))
        return self.wind_up()

    @cython.cfunc
    def tunnel(self, x: Exchange, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
        core: Core = self.core
        o: cython.p_char
        i: cython.int
        core.need_out(m.head_len + 128)
        o = core.out
        memcpy(o, p, m.first_line_end)
        o = put_fields(o + m.first_line_end, p, m, 0)
        for i in range(m.nfields):
            if m.fields[i].name_len == 7 and name_is(p + m.fields[i].name_off, b"upgrade", 7):
                memcpy(o, p + m.fields[i].name_off, m.fields[i].end - m.fields[i].name_off)
                o += m.fields[i].end - m.fields[i].name_off
        memcpy(o, b"Connection: upgrade\r\n\r\n", 23)
        x.head_bytes = o + 23 - core.out
        self.state = C_TUNNEL
        self.close_after = True
        if self.send(core.out, o + 23 - core.out) < 0:
            return self.written(-1)
        self.poller.disarm(self)
        self.poller.arm(x.up, x.idle_ms)
        if self.rlen:  # frames that came right behind the request
            if x.relay is not None:
                if x.relay.from_client(self.rbuf, self.rlen) < 0:
                    return self.gone()
                if self.fd < 0:
                    return 0
            elif x.up.send(self.rbuf, self.rlen) < 0:
                return self.written(-1)
            self.consume(self.rlen)
        if self.readable:
            self.poller.later(self)
        return 0

    def drain_idle(self):
        """The worker goes: a connection closes after the next response, or when no request comes soon."""
        if self.state == C_HEAD and self.wlen == 0:
            self.await_request()

    def server_address(self) -> str:
        if self.proxied is not None and self.proxied.source is not None:
            return self.proxied.destination
        if self.quic is not None:
            return self.quic.local_host
        return local_host(self.fd)


@cython.cfunc
@cython.exceptval(check=False)
def size_of_tries(x: Exchange) -> cython.int:
    """Room that put_upstream_status needs for them."""
    return 0 if x.tries is None else 8 * cython.cast(cython.int, len(x.tries))


@cython.cfunc
@cython.exceptval(check=False)
def ends_head(p: cython.p_const_char, start: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.bint:
    """Whether a blank line may have come with the bytes from start on."""
    i: cython.Py_ssize_t = start - 3 if start > 3 else 0
    q: cython.p_const_char
    while i < n:
        q = cython.cast(cython.p_const_char, memchr(p + i, 10, n - i))
        if q == cython.NULL:
            return False
        i = q - p + 1
        if i < n and (p[i] == 10 or (p[i] == 13 and i + 1 < n and p[i + 1] == 10)):
            return True
    return False
