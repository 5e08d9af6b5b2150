# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""One TLS connection by OpenSSL, which never sees the socket: what was received is given to it, what it wants to
send is taken from it. The input is a window on the caller's buffer and the output one buffer for all, so that an idle
connection holds no buffer of ours.
"""

import cython
from cython.cimports.bascule.net import openssl
from cython.cimports.libc.stdlib import free, malloc, realloc
from cython.cimports.libc.string import memcpy

METHOD = cython.declare(cython.pointer(openssl.BIO_METHOD), cython.NULL)
OUT = cython.declare(cython.p_char, cython.NULL)
OUT_LEN = cython.declare(cython.Py_ssize_t, 0)
OUT_OWNER = cython.declare(cython.pointer(Pipe), cython.NULL)  # whose bytes they are: nobody else gets to send them
OUT_CAP = cython.declare(cython.Py_ssize_t, 0)
OUT_KEPT = cython.declare(cython.Py_ssize_t, 262144)  # what is larger is given back


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def bio_read(b: cython.pointer(openssl.BIO), out: cython.p_char, n: cython.int) -> cython.int:
    pipe: cython.pointer(Pipe) = cython.cast(cython.pointer(Pipe), openssl.BIO_get_data(b))
    openssl.BIO_clear_retry_flags(b)
    if pipe.in_len == 0:
        openssl.BIO_set_retry_read(b)
        return -1
    if n > pipe.in_len:
        n = cython.cast(cython.int, pipe.in_len)
    memcpy(out, pipe.inp, n)
    pipe.inp += n
    pipe.in_len -= n
    return n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def bio_write(b: cython.pointer(openssl.BIO), p: cython.p_const_char, n: cython.int) -> cython.int:
    global OUT, OUT_LEN, OUT_CAP, OUT_OWNER
    grown: cython.p_char
    pipe: cython.pointer(Pipe) = cython.cast(cython.pointer(Pipe), openssl.BIO_get_data(b))
    openssl.BIO_clear_retry_flags(b)
    if pipe != OUT_OWNER:  # what another connection left is of no use any more
        OUT_OWNER = pipe
        OUT_LEN = 0
    if OUT_LEN + n > OUT_CAP:
        grown = cython.cast(cython.p_char, realloc(OUT, OUT_LEN + n + 16384))
        if grown == cython.NULL:
            return -1
        OUT = grown
        OUT_CAP = OUT_LEN + n + 16384
    memcpy(OUT + OUT_LEN, p, n)
    OUT_LEN += n
    return n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def bio_ctrl(b: cython.pointer(openssl.BIO), command: cython.int, n: cython.long, p: cython.p_void) -> cython.long:
    return 1 if command == openssl.BIO_CTRL_FLUSH else 0


def _set_up() -> None:
    global METHOD
    METHOD = openssl.BIO_meth_new(openssl.BIO_TYPE_SOURCE_SINK, b"memory window")
    if METHOD == cython.NULL:
        raise MemoryError
    openssl.BIO_meth_set_read(METHOD, bio_read)
    openssl.BIO_meth_set_write(METHOD, bio_write)
    openssl.BIO_meth_set_ctrl(METHOD, bio_ctrl)


_set_up()


@cython.cclass
class Tls:
    def __dealloc__(self):
        if self.ssl != cython.NULL:
            openssl.SSL_free(self.ssl)
        free(self.rest)

    def __repr__(self):
        return f"<tls {self.server_name} established={self.established} {self.failure or ''}>"

    @cython.cfunc
    @cython.exceptval(-1)
    def create(self, context: cython.pointer(openssl.SSL_CTX)) -> cython.int:
        global OUT_LEN
        bio: cython.pointer(openssl.BIO)
        if cython.address(self.pipe) == OUT_OWNER:  # of one that was here before
            OUT_LEN = 0
        self.ssl = openssl.SSL_new(context)
        bio = openssl.BIO_new(METHOD)
        if self.ssl == cython.NULL or bio == cython.NULL:
            raise MemoryError
        openssl.BIO_set_data(bio, cython.cast(cython.p_void, cython.address(self.pipe)))
        openssl.SSL_set_bio(self.ssl, bio, bio)
        openssl.SSL_set_ex_data(self.ssl, 0, cython.cast(cython.p_void, self))
        return 0

    @cython.cfunc
    def step(self) -> cython.int:
        r: cython.int = openssl.SSL_do_handshake(self.ssl)
        p: cython.pointer(cython.const[cython.uchar]) = cython.NULL
        n: cython.uint = 0
        if r == 1:
            self.established = True
            openssl.SSL_get0_alpn_selected(self.ssl, cython.address(p), cython.address(n))
            self.http2 = n == 2 and p[0] == 104 and p[1] == 50
            return 1
        if openssl.SSL_get_error(self.ssl, r) == openssl.SSL_ERROR_WANT_READ:
            return 0
        self.note_failure()
        if self.failure == "certificate verify failed":
            self.failure = f"certificate verify failed: {self.verify_error}"
        return -1

    @cython.cfunc
    def read(self, buf: cython.p_char, cap: cython.int) -> cython.int:
        return self.outcome(openssl.SSL_read(self.ssl, buf, cap))

    @cython.cfunc
    def peek(self) -> cython.int:
        probe: cython.char[1]
        return self.outcome(openssl.SSL_peek(self.ssl, probe, 1))

    @cython.cfunc
    def outcome(self, r: cython.int) -> cython.int:
        e: cython.int
        if r > 0:
            return r
        e = openssl.SSL_get_error(self.ssl, r)
        if e == openssl.SSL_ERROR_WANT_READ:
            return -1
        if e == openssl.SSL_ERROR_ZERO_RETURN:
            return 0
        self.note_failure()
        return -2

    @cython.cfunc
    @cython.exceptval(check=False)
    def write(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        k: cython.int
        while n > 0:
            k = 0x40000000 if n > 0x40000000 else cython.cast(cython.int, n)
            if openssl.SSL_write(self.ssl, p, k) != k:
                self.note_failure()
                return -1
            p += k
            n -= k
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def say_goodbye(self) -> cython.int:
        if self.failure is None and self.established:
            openssl.SSL_shutdown(self.ssl)
            openssl.ERR_clear_error()
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def give(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.void:
        self.pipe.inp = p
        self.pipe.in_len = n
        self.resting = False

    @cython.cfunc
    @cython.exceptval(check=False)
    def hold(self) -> cython.int:
        kept: cython.p_char
        if self.pipe.in_len == 0:
            if self.rest != cython.NULL:
                free(self.rest)
                self.rest = cython.NULL
                self.resting = False
            return 0
        if self.resting:
            return 0
        kept = cython.cast(cython.p_char, malloc(self.pipe.in_len))
        if kept == cython.NULL:
            return -1
        memcpy(kept, self.pipe.inp, self.pipe.in_len)
        free(self.rest)
        self.rest = kept
        self.pipe.inp = kept
        self.resting = True
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def empty(self) -> cython.bint:
        return self.pipe.in_len == 0 and not openssl.SSL_has_pending(self.ssl)

    @cython.cfunc
    @cython.exceptval(check=False)
    def output(self, p: cython.pointer(cython.p_char)) -> cython.Py_ssize_t:
        global OUT, OUT_LEN, OUT_CAP
        n: cython.Py_ssize_t = OUT_LEN if cython.address(self.pipe) == OUT_OWNER else 0
        if n == 0 and OUT_CAP > OUT_KEPT:
            free(OUT)
            OUT = cython.NULL
            OUT_CAP = 0
        p[0] = OUT
        OUT_LEN = 0
        return n

    @cython.cfunc
    def note_failure(self) -> cython.int:
        code: cython.ulong = openssl.ERR_peek_error()
        text: cython.p_const_char = cython.NULL
        if code:
            text = openssl.ERR_reason_error_string(code)
            self.plain_http = openssl.ERR_GET_REASON(code) == openssl.SSL_R_HTTP_REQUEST
        if self.failure is None:
            self.failure = "failed" if text == cython.NULL else cython.cast(bytes, text).decode("ascii", "replace")
        openssl.ERR_clear_error()
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def fail(self, reason: str) -> cython.void:
        if self.failure is None:
            self.failure = reason

    # ---- what logs, variables and plugins ask

    @property
    def protocol(self) -> str:
        """ "TLSv1.3" """
        return cython.cast(bytes, openssl.SSL_get_version(self.ssl)).decode()

    @property
    def cipher(self) -> str:
        cipher: cython.pointer(cython.const[openssl.SSL_CIPHER]) = openssl.SSL_get_current_cipher(self.ssl)
        return "" if cipher == cython.NULL else cython.cast(bytes, openssl.SSL_CIPHER_get_name(cipher)).decode()

    @property
    def resumed(self) -> bool:
        return openssl.SSL_session_reused(self.ssl) == 1

    @property
    def session_id(self) -> str:
        n: cython.uint = 0
        session: cython.pointer(openssl.SSL_SESSION) = openssl.SSL_get_session(self.ssl)
        if session == cython.NULL:
            return ""
        p: cython.pointer(cython.const[cython.uchar]) = openssl.SSL_SESSION_get_id(session, cython.address(n))
        return cython.cast(cython.p_const_char, p)[:n].hex()

    @property
    def verify_error(self) -> str:
        """Why the peer's certificate isn't trusted; empty if it is, or if there is none."""
        result: cython.long = openssl.SSL_get_verify_result(self.ssl)
        if result == openssl.X509_V_OK:
            return ""
        return cython.cast(bytes, openssl.X509_verify_cert_error_string(result)).decode("ascii", "replace")

    @property
    def shown(self) -> bool:
        """Whether the peer has shown a certificate."""
        x: cython.pointer(openssl.X509) = openssl.SSL_get1_peer_certificate(self.ssl)
        openssl.X509_free(x)
        return x != cython.NULL

    @property
    def peer_certificate(self) -> bytes | None:
        """DER, or None."""
        x: cython.pointer(openssl.X509) = openssl.SSL_get1_peer_certificate(self.ssl)
        n: cython.int
        out: cython.pointer(cython.uchar) = cython.NULL
        if x == cython.NULL:
            return None
        n = openssl.i2d_X509(x, cython.address(out))
        openssl.X509_free(x)
        if n < 0:
            return None
        der = cython.cast(cython.p_const_char, out)[:n]
        openssl.OPENSSL_free(out)
        return der
