# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""HTTP/1.1 towards an upstream: one exchange at a time, then back into the pool of its endpoint.

The response goes on as it is read: raw where its framing suits the client, else decoded. Reading stops while the
client's buffer holds bytes.
"""

import cython
from cython.cimports.bascule.engine.ending import finish
from cython.cimports.bascule.engine.exchange import BODY_RAW, Exchange
from cython.cimports.bascule.engine.failure import (
    F_CLOSED,
    F_CONNECT,
    F_CONNECT_TIMEOUT,
    F_MALFORMED,
    F_READ_TIMEOUT,
    F_SEND_TIMEOUT,
)
from cython.cimports.bascule.engine.hedge import winner
from cython.cimports.bascule.engine.outcome import drop_upstream
from cython.cimports.bascule.engine.parties import Downstream, Upstream
from cython.cimports.bascule.engine.tries import upstream_failed
from cython.cimports.bascule.engine.upgrade import switch
from cython.cimports.bascule.engine.upstream_response import (
    last_chunk,
    on_response_data,
    on_response_head,
    response_end,
)
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.stream import SCRATCH
from cython.cimports.bascule.wire.chunk import CHUNK_DONE, chunk_reset, chunk_scan, chunk_step, trailer_bytes
from cython.cimports.bascule.wire.http1 import Parsed, parse_response

from bascule.wire.chunk import trailer_fields

INTERIM_LIMIT = cython.declare(cython.int, 1000)
LARGE_REQUEST = cython.declare(cython.longlong, 65536)  # below it, the kernel holds a request that nobody reads


@cython.cclass
class Http1Upstream(Upstream):
    def __repr__(self):
        return f"<upstream fd={self.fd} state={self.state} uses={self.uses} {self.endpoint!r}>"

    # ---- events

    @cython.cfunc
    def on_event(self, events: cython.uint) -> cython.int:
        error: cython.int = 0
        size: cnet.socklen_t = 4
        x: Exchange = self.x
        if self.fd < 0:
            return 0
        if events & (cnet.EPOLLRDHUP | cnet.EPOLLHUP | cnet.EPOLLERR):
            if self.over and events & (cnet.EPOLLHUP | cnet.EPOLLERR):
                return x.down.abort()  # the tunnel's other direction broke too
            self.half_closed = True
            self.readable = True
            self.drained = False
        elif events & cnet.EPOLLIN:
            self.readable = True
            self.drained = False
        if self.connecting and events & (cnet.EPOLLOUT | cnet.EPOLLERR | cnet.EPOLLHUP):
            cnet.getsockopt(self.fd, cnet.SOL_SOCKET, cnet.SO_ERROR, cython.address(error), cython.address(size))
            if error and self.sent == self.mark:  # else it broke after connecting, perhaps with an answer
                if x is None:
                    self.close()
                    return 0
                return upstream_failed(x, F_CONNECT, f"connect failed: {error_text(error)}")
            self.connecting = False
            if x is not None and self.tls is None:
                self.poller.arm(self, self.plan.send_ms if self.wlen else self.plan.read_ms)
        if self.tls is not None and not self.tls.established:
            if self.connecting or not self.secured():
                return 0
        elif self.wlen and events & cnet.EPOLLOUT:
            if self.flush() < 0:  # an answer that came before the reset is still to be read
                self.readable = True
                self.half_closed = True
            elif self.wlen:
                self.poller.arm(self, self.plan.send_ms)
            elif x is not None:
                self.poller.arm(self, x.idle_ms if self.state == U_TUNNEL else self.plan.read_ms)
                if x.down is not None:
                    x.down.resume()
                if self.fd < 0:
                    return 0
        if self.readable:
            return self.pump()
        return 0

    @cython.cfunc
    def secured(self) -> cython.bint:
        """Goes on with the TLS handshake. True: it is done, and what waited is on its way."""
        x: Exchange = self.x
        result: cython.int = self.handshake()
        if result < 0 and x is not None:
            upstream_failed(x, F_CONNECT, f"the TLS handshake failed: {self.tls.failure}")
        elif result < 0:
            self.close()
        if result <= 0:
            return False
        if x is not None:
            self.poller.arm(self, self.plan.send_ms if self.wlen else self.plan.read_ms)
            if not self.wlen and x.down is not None:
                x.down.resume()
        return self.fd >= 0

    @cython.cfunc
    def on_timeout(self) -> cython.int:
        x: Exchange = self.x
        if x is None:
            self.unpool()
            self.close()
            return 0
        if self.connecting:
            return upstream_failed(x, F_CONNECT_TIMEOUT, "connect timed out")
        if self.tls is not None and not self.tls.established:
            return upstream_failed(x, F_CONNECT_TIMEOUT, "the TLS handshake timed out")
        if self.state == U_TUNNEL:
            if x.relay is not None:
                return x.relay.end(1001, "nothing came for too long")
            return x.down.abort()
        if self.wlen:
            return upstream_failed(x, F_SEND_TIMEOUT, "sending the request timed out")
        if self.state == U_DONE or (self.state == U_HEAD and x.has_body and not x.body_sent):
            self.poller.arm(self, self.plan.read_ms)  # the client is still sending: its own time limit holds
            return 0
        if x.down is not None and x.down.wlen:
            self.poller.arm(self, self.plan.read_ms)  # the client does not read: its own time limit holds
            return 0
        return upstream_failed(x, F_READ_TIMEOUT, "reading the response timed out")

    @cython.cfunc
    def on_failure(self) -> cython.int:
        x: Exchange = self.x
        if x is not None and x.down is not None:
            return x.down.abort()
        self.close()
        return 0

    @cython.cfunc
    def unpool(self) -> cython.int:
        """Out of the endpoint's idle connections."""
        idle: list = self.endpoint.idle
        i: cython.Py_ssize_t
        for i in range(len(idle)):
            if idle[i] is self:
                idle.pop(i)
                break
        return 0

    # ---- reading

    @cython.cfunc
    def pump(self) -> cython.int:
        n: cython.Py_ssize_t
        k: cython.int
        x: Exchange
        down: Downstream
        while self.readable and self.fd >= 0:
            x = self.x
            if x is None:  # idle: whatever comes, the connection is of no more use
                if self.tls is not None and self.quiet():
                    return 0  # it was TLS's own
                self.unpool()
                self.close()
                return 0
            down = x.down
            if self.over:
                return 0
            if down.wlen > x.ahead and (x.relay is None or not x.relay.closing):
                return 0
            if self.rlen:
                if self.reserve(16384) < 0:
                    return self.ended(True)
                n = self.receive(self.rbuf + self.rlen, self.rcap - self.rlen)
            else:
                n = self.receive(self.core.scratch, SCRATCH)
            if n <= 0:
                if n == -1:
                    return 0
                return self.ended(n == -2)
            if self.state == U_TUNNEL:
                self.poller.arm(self, x.idle_ms)
                if x.relay is not None:
                    if x.relay.from_upstream(self.core.scratch, n) < 0:
                        return down.abort()
                    if self.x is not x:
                        return 0
                elif down.send(self.core.scratch, n) < 0:
                    return down.abort()
                if down.wlen:
                    self.poller.arm(down, self.core.send_ms)
                continue
            if self.rlen:
                self.rlen += cython.cast(cython.int, n)
                k = self.feed(self.rbuf, self.rlen)
                if x.lead is not None and self.x is x.lead:  # it was a rival, and has won
                    x = self.x
                if self.fd >= 0 and self.x is x:
                    self.consume(k)
            else:
                k = self.feed(self.core.scratch, n)
                if x.lead is not None and self.x is x.lead:
                    x = self.x
                if self.fd >= 0 and k < n and self.x is x and self.stash(self.core.scratch + k, n - k) < 0:
                    return self.ended(True)
            if down.broken:
                return 0
        return 0

    @cython.cfunc
    def tunnel_pump(self) -> cython.int:
        return self.pump()

    @cython.cfunc
    def ended(self, error: cython.bint) -> cython.int:
        """The upstream has closed its side, or broken the connection."""
        x: Exchange = self.x
        self.keep = False
        if x is None:
            self.unpool()
            self.close()
            return 0
        if self.state == U_CLOSE and not error:
            if x.filtering:
                on_response_data(x, b"", 0, True)
                if self.x is not x:
                    return 0
            return self.whole(False)
        if self.state == U_TUNNEL:
            if error or x.down.over:
                return x.down.abort()
            self.over = True  # the client is told, and may go on
            x.down.end_output()
            return 0
        if self.state == U_DONE:
            drop_upstream(x)  # the rest of the request body has nowhere to go
            if x.body_done:
                return finish(x)
            x.down.resume()
            return 0
        if self.connecting:
            return upstream_failed(x, F_CONNECT, "the connection was refused")
        if self.state == U_HEAD:
            return upstream_failed(x, F_CLOSED, "the connection closed before a response came")
        return upstream_failed(x, F_CLOSED, "the connection closed within the response")

    @cython.cfunc
    def feed(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        """Consumes what it can; returns how much."""
        k: cython.Py_ssize_t = 0
        r: cython.int
        x: Exchange = self.x
        down: Downstream
        while k < n and self.fd >= 0 and self.x is x:
            if self.state == U_HEAD:
                r = self.feed_head(p + k, n - k)
                if x.lead is not None and self.x is x.lead:
                    x = self.x
            elif self.state == U_TUNNEL:
                down = x.down
                if x.relay is not None:
                    if x.relay.from_upstream(p + k, n - k) < 0:
                        down.abort()
                elif down.send(p + k, n - k) < 0:
                    down.abort()
                return cython.cast(cython.int, n)
            elif self.state == U_DONE:
                self.keep = False  # bytes after the response: not a connection to use again
                return cython.cast(cython.int, n)
            else:
                r = self.feed_body(p + k, n - k)
            if r == 0:
                break
            k += r
        return cython.cast(cython.int, k)

    @cython.cfunc
    def feed_head(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        """One head, with the run of body bytes behind it where they go on as they are."""
        x: Exchange = self.x
        m: cython.pointer(Parsed) = cython.address(x.resp.m)
        r: cython.Py_ssize_t = parse_response(p, n, m, cython.address(self.core.response_limits))
        b: cython.Py_ssize_t
        done: cython.bint = False
        if r == 0:
            return 0
        if r < 0:
            upstream_failed(x, F_MALFORMED, "the response head is malformed")
            return 0
        if m.status < 200:
            if m.status != 101:
                self.interims += 1
                if self.interims > INTERIM_LIMIT:
                    upstream_failed(x, F_MALFORMED, "too many interim responses")
                    return 0
                self.poller.arm(self, self.plan.read_ms)  # 102 and 103 say: still at work
                x.down.interim(p, m)
                return cython.cast(cython.int, r)
            if not x.websocket:
                upstream_failed(x, F_MALFORMED, "101 to a request without an upgrade")
                return 0
            return self.feed_upgrade(p, m, cython.cast(cython.int, r))
        self.keep = not m.close and self.plan.keep and (m.minor == 1 or m.keep_alive)
        if x.lead is not None:
            x = winner(x, m)
            if x is None:
                return 0
            m = cython.address(x.resp.m)
        if not on_response_head(x, p, m):
            return 0
        b = n - r
        if x.head_sent or m.status == 204 or m.status == 304:
            self.state = U_LENGTH
            self.left = 0
        elif m.chunked:
            self.state = U_CHUNKED
            chunk_reset(cython.address(self.chunk))
        elif m.content_length >= 0:
            self.state = U_LENGTH
            self.left = m.content_length
        else:
            self.state = U_CLOSE
            self.keep = False
        if self.state == U_LENGTH and (self.left == 0 or x.body_mode == BODY_RAW):
            if b > self.left:
                b = self.left
            self.left -= b
            done = self.left == 0
        elif x.body_mode == BODY_RAW:
            b = chunk_scan(cython.address(self.chunk), p + r, b)
            if b < 0:
                x.state = 3  # nothing has gone out yet: a clean 502
                upstream_failed(x, F_MALFORMED, "the chunked response body is malformed")
                return 0
            done = self.chunk.state == CHUNK_DONE
        else:
            b = 0
        if x.gathered is None:
            x.down.begin_response(x, p, m, p + r, b if x.body_mode == BODY_RAW else 0)
        if done:
            if x.filtering:
                on_response_data(x, b"", 0, True)
                if self.x is not x:
                    return cython.cast(cython.int, r)
            self.whole(r + b < n)
        else:
            self.poller.arm(self, self.plan.read_ms)
        return cython.cast(cython.int, r + b)

    @cython.cfunc
    def feed_upgrade(self, p: cython.p_const_char, m: cython.pointer(Parsed), r: cython.int) -> cython.int:
        """101: the head goes to the client, then bytes flow both ways."""
        x: Exchange = self.x
        if not switch(x, p, m):
            return 0
        self.state = U_TUNNEL
        self.keep = False
        x.down.tunnel(x, p, m)
        return r

    @cython.cfunc
    def feed_body(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        x: Exchange = self.x
        r: cython.Py_ssize_t = n
        off: cython.Py_ssize_t = 0
        k: cython.Py_ssize_t = n
        t: cython.int
        done: cython.bint = False
        self.poller.arm(self, self.plan.read_ms)
        if self.state == U_LENGTH:
            if r > self.left:
                r = self.left
            k = r
            self.left -= r
            done = self.left == 0
        elif self.state == U_CHUNKED:
            if x.body_mode == BODY_RAW:
                r = chunk_scan(cython.address(self.chunk), p, n)
                k = r
            else:
                t = trailer_bytes(cython.address(self.chunk))
                r = chunk_step(cython.address(self.chunk), p, n, cython.address(off), cython.address(k))
                t = trailer_bytes(cython.address(self.chunk)) - t
                if r >= t and t > 0:
                    self.keep_trailers(p[r - t : r])
            if r < 0:
                upstream_failed(x, F_MALFORMED, "the chunked response body is malformed")
                return 0
            done = self.chunk.state == CHUNK_DONE
        if k or done:
            on_response_data(x, p + off, k, done)
            if self.x is not x:
                return cython.cast(cython.int, r)
        if done:
            self.whole(r < n)
        return cython.cast(cython.int, r)

    @cython.cfunc
    def keep_trailers(self, piece: bytes) -> cython.int:
        """More of the trailer section came."""
        if self.trailer_section is not None:
            piece = self.trailer_section + piece
        if self.chunk.state != CHUNK_DONE:
            self.trailer_section = piece
            return 0
        self.trailer_section = None
        if len(piece) > 2:
            self.x.trailers = trailer_fields(piece)
        return 0

    @cython.cfunc
    def whole(self, surplus: cython.bint) -> cython.int:
        """The response is complete."""
        x: Exchange = self.x
        if surplus:
            self.keep = False
        self.state = U_DONE
        return response_end(x)

    # ---- the request

    @cython.cfunc
    def send_head(self, x: Exchange, p: cython.p_const_char, n: cython.int, last: cython.bint) -> cython.int:
        return self.send(p, n)

    @cython.cfunc
    def send_body(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        waiting: cython.int = self.wlen
        if self.send(p, n) < 0:
            return -1
        if self.wlen and not waiting:
            self.time_sending()
        return 0

    @cython.cfunc
    def time_sending(self) -> cython.int:
        """It takes no more for now: the limit of sending begins, unless that of connecting runs."""
        if not self.connecting and (self.tls is None or self.tls.established):
            self.poller.arm(self, self.plan.send_ms)
        return 0

    @cython.cfunc
    def send_chunk(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        head: cython.char[24]
        k: cython.int = chunk_head(head, n)
        waiting: cython.int = self.wlen
        if n == 0:
            return 0
        if self.send2(head, k, p, n) < 0 or self.send(b"\r\n", 2) < 0:
            return -1
        if self.wlen and not waiting:
            self.time_sending()
        return 0

    @cython.cfunc
    def end_body(self, chunked: cython.bint) -> cython.int:
        text: bytes
        if not chunked:
            return 0
        text = last_chunk(self.x.request_trailers)
        return self.send(text, len(text))

    # ---- life

    @cython.cfunc
    def begin(self, x: Exchange) -> cython.int:
        self.state = U_HEAD
        self.interims = 0
        self.trailer_section = None
        if self.connecting or (self.tls is not None and not self.tls.established):
            self.poller.arm(self, self.plan.connect_ms)
        else:
            self.poller.arm(self, self.plan.send_ms if self.wlen else self.plan.read_ms)
        return 0

    @cython.cfunc
    def release(self) -> cython.int:
        """Into the pool, if it may be used again."""
        idle: list = self.endpoint.idle
        oldest: Http1Upstream
        if (
            not self.keep
            or self.half_closed
            or self.broken
            or self.wlen
            or self.rlen
            or self.uses >= self.plan.keep_requests
            or self.core.draining
            or (self.tls is not None and not self.tls.empty())
            or (self.sent - self.mark > LARGE_REQUEST and self.lags())
        ):
            self.close()
            return 0
        self.state = U_IDLE
        if len(idle) >= self.plan.keep_size:
            oldest = idle.pop(0)
            oldest.close()
        idle.append(self)
        self.poller.arm(self, self.plan.keep_idle_ms)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def lags(self) -> cython.bint:
        """Whether it answered before it took in what was sent to it: then it will sooner close than read the rest."""
        waiting: cython.int = 0
        cnet.ioctl(self.fd, cnet.SIOCOUTQ, cython.address(waiting))
        return waiting > 0

    @cython.cfunc
    def cancel(self) -> cython.int:
        self.close()
        return 0


def error_text(error: int) -> str:
    import os

    return os.strerror(error).lower()


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def chunk_head(out: cython.p_char, n: cython.Py_ssize_t) -> cython.int:
    """Size line of a chunk of n bytes; its length."""
    digits: cython.char[20]
    k: cython.int = 0
    i: cython.int = 0
    d: cython.int
    while n > 0:
        d = cython.cast(cython.int, n & 15)
        digits[k] = cython.cast(cython.char, 48 + d if d < 10 else 87 + d)
        n >>= 4
        k += 1
    while k > 0:
        k -= 1
        out[i] = digits[k]
        i += 1
    out[i] = 13
    out[i + 1] = 10
    return i + 2
