# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""A buffered non-blocking socket under edge-triggered epoll.

Reading: a receive that returns less than asked has drained the socket (unless the peer has closed its side, when only
the end itself tells). Writing: tried at once; what the kernel does not take is kept, and whoever feeds this stream
stops while wlen > 0: that is the backpressure, and it bounds the buffer to what one read of the other side gave.
"""

import cython
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.cnet import errno, iovec
from cython.cimports.libc.stdlib import free, realloc
from cython.cimports.libc.string import memcpy, memmove


@cython.cclass
class Stream(Handle):
    def __dealloc__(self):
        free(self.rbuf)
        free(self.wbuf)

    @cython.cfunc
    @cython.exceptval(check=False)
    def receive(self, buf: cython.p_char, cap: cython.Py_ssize_t) -> cython.Py_ssize_t:
        n: cython.Py_ssize_t
        while True:
            n = cnet.recv(self.fd, buf, cap, 0)
            if n > 0:
                if n < cap and not self.half_closed:
                    self.readable = False
                self.received += n
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
    def send(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        r: cython.Py_ssize_t
        if self.broken or self.fd < 0:
            return -1
        if self.wlen == 0:
            r = cnet.send(self.fd, p, n, cnet.MSG_NOSIGNAL)
            if r == n:
                self.sent += n
                return 0
            if r < 0:
                if errno != cnet.EAGAIN and errno != cnet.EINTR:
                    self.broken = True
                    return -1
                r = 0
            self.sent += r
            p += r
            n -= r
        return self.keep(p, n)

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
        r = cnet.send(self.fd, self.wbuf + self.woff, self.wlen, cnet.MSG_NOSIGNAL)
        if r < 0:
            if errno == cnet.EAGAIN or errno == cnet.EINTR:
                return 0
            self.broken = True
            return -1
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
        if self.poller is not None:
            self.poller.forget(self)
        elif self.fd >= 0:
            cnet.close(self.fd)
            self.fd = -1
