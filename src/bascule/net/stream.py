# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""A buffered non-blocking socket under edge-triggered epoll.

Reading: a receive that returns less than asked has drained the socket (unless the peer has closed its side, when only
the end itself tells). Writing: tried at once; what the kernel does not take is kept, and whoever feeds this stream
stops while wlen > 0: that is the backpressure, and it bounds the buffer to what one read of the other side gave.

With `tls` set, what is read and written is plain text, and wbuf holds sealed bytes; while the handshake of a client's
side goes on it holds what is to be sealed after it.
"""

import cython
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.cnet import errno, iovec
from cython.cimports.bascule.net.tls import Tls
from cython.cimports.libc.stdlib import free, malloc, realloc
from cython.cimports.libc.string import memcpy, memmove

RAW = cython.declare(cython.p_char, cython.cast(cython.p_char, malloc(SCRATCH)))  # sealed bytes of one receive


@cython.cclass
class Stream(Handle):
    def __dealloc__(self):
        free(self.rbuf)
        free(self.wbuf)

    @cython.cfunc
    @cython.exceptval(check=False)
    def receive(self, buf: cython.p_char, cap: cython.Py_ssize_t) -> cython.Py_ssize_t:
        n: cython.Py_ssize_t
        if self.tls is not None:
            return self.receive_sealed(buf, cap)
        n = self.pull(buf, cap)
        if n > 0:
            if n < cap and not self.half_closed:
                self.readable = False
            self.received += n
        return n

    @cython.cfunc
    @cython.exceptval(check=False)
    def pull(self, buf: cython.p_char, cap: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """What the kernel has, sealed or not; as receive() returns."""
        n: cython.Py_ssize_t
        while True:
            n = cnet.recv(self.fd, buf, cap, 0)
            if n > 0:
                return n
            if n == 0:
                self.half_closed = True
                return 0
            if errno == cnet.EINTR:
                continue
            if errno == cnet.EAGAIN:
                self.readable = False
                return -1
            self.half_closed = True
            return -2

    @cython.cfunc
    @cython.exceptval(check=False)
    def take_in(self) -> cython.Py_ssize_t:
        """Sealed bytes for OpenSSL; as receive() returns."""
        n: cython.Py_ssize_t
        if self.drained:
            self.drained = False
            self.readable = False
            return -1
        n = self.pull(RAW, SCRATCH)
        if n > 0:
            self.drained = n < SCRATCH and not self.half_closed
            self.tls.give(RAW, n)
        return n

    @cython.cfunc
    @cython.exceptval(check=False)
    def receive_sealed(self, buf: cython.p_char, cap: cython.Py_ssize_t) -> cython.Py_ssize_t:
        tls: Tls = self.tls
        got: cython.Py_ssize_t = 0
        r: cython.Py_ssize_t
        while got < cap:
            r = tls.read(buf + got, cython.cast(cython.int, cap - got))
            if r > 0:
                got += r
                continue
            if self.put_sealed() < 0 or r == -2:  # answers of TLS itself: alerts, key updates
                r = -2
                break
            if r == 0:
                break
            r = self.take_in()
            if r <= 0:
                break
        if tls.hold() < 0:  # no memory: the window is everybody's, nothing of it may stay
            self.half_closed = True
            return -2
        if got:
            if r > 0 and self.drained and tls.empty():
                self.drained = False
                self.readable = False
            self.received += got
            return got  # what came behind it, an end or a failure, comes again
        if r != -1:
            self.half_closed = True
        return r

    @cython.cfunc
    @cython.exceptval(check=False)
    def handshake(self) -> cython.int:
        """Goes on with it. 1: done; 0: more must come; -1: failed, `tls.failure` says why."""
        tls: Tls = self.tls
        r: cython.int
        plain: cython.p_char
        sealed: cython.p_char = cython.NULL
        n: cython.Py_ssize_t
        if self.before_tls is not None:
            n = len(self.before_tls)
            if cnet.send(self.fd, cython.cast(cython.p_char, self.before_tls), n, cnet.MSG_NOSIGNAL) != n:
                tls.fail("the connection broke")
                return -1
            self.before_tls = None
        while True:
            r = tls.step()
            if tls.accepting:
                n = self.put_sealed()
            else:
                # wbuf holds what is to be sealed, so this can't wait there: a few kilobytes into an empty socket.
                n = tls.output(cython.address(sealed))
                n = 0 if n == 0 or cnet.send(self.fd, sealed, n, cnet.MSG_NOSIGNAL) == n else -1
            if n < 0:
                tls.fail("the connection broke")
                return -1
            if r < 0:
                return -1
            if r == 1:
                break
            n = self.take_in()
            if n == -1:
                return 0
            if n <= 0:
                tls.fail("the connection closed within the handshake")
                return -1
        if tls.hold() < 0:
            tls.fail("no memory")
            return -1
        if self.wlen and not tls.accepting:
            plain = self.wbuf
            n = self.wlen
            r = self.woff
            self.wbuf = cython.NULL
            self.wlen = self.woff = self.wcap = 0
            self.send(plain + r, n)
            free(plain)
        return 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def put_sealed(self) -> cython.int:
        """Sends what OpenSSL has made; as send()."""
        sealed: cython.p_char = cython.NULL
        n: cython.Py_ssize_t = self.tls.output(cython.address(sealed))
        if n == 0:
            return 0
        if self.broken or self.fd < 0:
            return -1
        return -1 if self.push(sealed, n) < 0 else 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def seal(
        self, p: cython.p_const_char, n: cython.Py_ssize_t, q: cython.p_const_char, k: cython.Py_ssize_t
    ) -> cython.int:
        """Sends p, then q."""
        tls: Tls = self.tls
        if not tls.established:
            if self.keep(p, n) < 0:
                return -1
            return self.keep(q, k)
        if tls.write(p, n) < 0 or tls.write(q, k) < 0:
            self.put_sealed()
            self.broken = True
            return -1
        self.sent += n + k
        return self.put_sealed()

    @cython.cfunc
    @cython.exceptval(check=False)
    def at_end(self) -> cython.bint:
        """Whether nothing more comes from the peer: it has closed its side, or reset the connection."""
        probe: cython.char[1]
        n: cython.Py_ssize_t
        r: cython.int
        if self.tls is None:
            n = cnet.recv(self.fd, probe, 1, cnet.MSG_PEEK)
            return n == 0 or (n < 0 and errno != cnet.EAGAIN and errno != cnet.EINTR)
        while True:
            r = self.tls.peek()
            if r != -1:
                break
            n = self.take_in()
            if n <= 0:
                r = 1 if n == -1 else 0
                break
        if self.tls.hold() < 0:
            return True
        self.put_sealed()
        return r <= 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def quiet(self) -> cython.bint:
        """Whether an idle connection still stands, and nothing has come on it that would be for us."""
        probe: cython.char[1]
        r: cython.int
        n: cython.Py_ssize_t
        if self.tls is None:
            return cnet.recv(self.fd, probe, 1, cnet.MSG_PEEK) < 0 and errno == cnet.EAGAIN
        self.drained = False
        while True:
            r = self.tls.peek()  # takes in what is TLS's own: session tickets, key updates
            if r != -1:
                return False
            n = self.take_in()
            if n <= 0:
                self.put_sealed()
                return n == -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def end_output(self) -> cython.void:
        """The peer is told that nothing more comes; all that was sent is out."""
        if self.tls is not None:
            self.tls.say_goodbye()
            self.put_sealed()
        cnet.shutdown(self.fd, cnet.SHUT_WR)

    @cython.cfunc
    @cython.exceptval(check=False)
    def total_sent(self) -> cython.longlong:
        """Bytes handed over, sent or kept; of TLS the plain ones."""
        return self.sent if self.tls is not None else self.sent + self.wlen

    @cython.cfunc
    @cython.exceptval(check=False)
    def send(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        r: cython.Py_ssize_t
        if self.broken or self.fd < 0:
            return -1
        if self.tls is not None:
            return self.seal(p, n, cython.NULL, 0)
        r = self.push(p, n)
        if r < 0:
            return -1
        self.sent += r
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def push(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """How much the kernel took at once; the rest is kept. -1: broken."""
        r: cython.Py_ssize_t = 0
        if self.wlen == 0:
            r = cnet.send(self.fd, p, n, cnet.MSG_NOSIGNAL)
            if r == n:
                return r
            if r < 0:
                if errno != cnet.EAGAIN and errno != cnet.EINTR:
                    self.broken = True
                    return -1
                r = 0
        return -1 if self.keep(p + r, n - r) < 0 else r

    @cython.cfunc
    @cython.exceptval(check=False)
    def send2(
        self, p: cython.p_const_char, n: cython.Py_ssize_t, q: cython.p_const_char, k: cython.Py_ssize_t
    ) -> cython.int:
        """Sends p then q in one system call."""
        r: cython.Py_ssize_t
        parts: iovec[2]
        if k == 0:
            return self.send(p, n)
        if self.broken or self.fd < 0:
            return -1
        if self.tls is not None:
            return self.seal(p, n, q, k)
        if self.wlen == 0:
            parts[0].iov_base = cython.cast(cython.p_void, p)
            parts[0].iov_len = n
            parts[1].iov_base = cython.cast(cython.p_void, q)
            parts[1].iov_len = k
            r = cnet.writev(self.fd, parts, 2)  # SIGPIPE is ignored by the process
            if r < 0:
                if errno != cnet.EAGAIN and errno != cnet.EINTR:
                    self.broken = True
                    return -1
                r = 0
            self.sent += r
            if r == n + k:
                return 0
            if r >= n:
                return self.keep(q + (r - n), k - (r - n))
            p += r
            n -= r
        if self.keep(p, n) < 0:
            return -1
        return self.keep(q, k)

    @cython.cfunc
    @cython.exceptval(check=False)
    def keep(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        grown: cython.p_char
        want: cython.Py_ssize_t
        if n <= 0:
            return 0
        if self.woff + self.wlen + n > self.wcap:
            if self.woff:
                memmove(self.wbuf, self.wbuf + self.woff, self.wlen)
                self.woff = 0
            if self.wlen + n > self.wcap:
                want = self.wlen + n + 4096
                if want > 0x40000000:
                    self.broken = True
                    return -1
                grown = cython.cast(cython.p_char, realloc(self.wbuf, want))
                if grown == cython.NULL:
                    self.broken = True
                    return -1
                self.wbuf = grown
                self.wcap = cython.cast(cython.int, want)
        memcpy(self.wbuf + self.woff + self.wlen, p, n)
        self.wlen += cython.cast(cython.int, n)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def flush(self) -> cython.int:
        r: cython.Py_ssize_t
        if self.wlen == 0:
            return 0
        if self.broken or self.fd < 0:
            return -1
        if self.tls is not None and not self.tls.established and not self.tls.accepting:
            return 0  # still to be sealed
        r = cnet.send(self.fd, self.wbuf + self.woff, self.wlen, cnet.MSG_NOSIGNAL)
        if r < 0:
            if errno == cnet.EAGAIN or errno == cnet.EINTR:
                return 0
            self.broken = True
            return -1
        if self.tls is None:
            self.sent += r
        self.wlen -= cython.cast(cython.int, r)
        self.woff = self.woff + cython.cast(cython.int, r) if self.wlen else 0
        if self.wlen == 0:
            free(self.wbuf)
            self.wbuf = cython.NULL
            self.wcap = 0
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def take_output(self, other: Stream) -> cython.void:
        """What another stream has not sent yet is this one's to send."""
        self.wbuf, self.woff, self.wlen, self.wcap = other.wbuf, other.woff, other.wlen, other.wcap
        other.wbuf = cython.NULL
        other.woff = other.wlen = other.wcap = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def reserve(self, n: cython.int) -> cython.int:
        grown: cython.p_char
        if self.rlen + n > self.rcap:
            grown = cython.cast(cython.p_char, realloc(self.rbuf, self.rlen + n))
            if grown == cython.NULL:
                return -1
            self.rbuf = grown
            self.rcap = self.rlen + n
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def stash(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        if n <= 0:
            return 0
        if self.reserve(cython.cast(cython.int, n)) < 0:
            return -1
        memcpy(self.rbuf + self.rlen, p, n)
        self.rlen += cython.cast(cython.int, n)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def consume(self, n: cython.int) -> cython.void:
        self.rlen -= n
        if self.rlen:
            if n:
                memmove(self.rbuf, self.rbuf + n, self.rlen)
        elif self.rbuf != cython.NULL:
            free(self.rbuf)  # an idle connection holds no buffer
            self.rbuf = cython.NULL
            self.rcap = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def close(self) -> cython.void:
        if self.tls is not None and self.fd >= 0 and self.wlen == 0 and not self.broken:
            self.tls.say_goodbye()
            self.put_sealed()
        if self.poller is not None:
            self.poller.forget(self)
        elif self.fd >= 0:
            cnet.close(self.fd)
            self.fd = -1
