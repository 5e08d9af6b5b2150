from bascule.net cimport openssl

# What OpenSSL reads from: a window on bytes that were received.
cdef struct Pipe:
    const char* inp
    Py_ssize_t in_len

# One TLS connection, without its socket: bytes in and out go through memory.
cdef class Tls:
    cdef openssl.SSL* ssl
    cdef Pipe pipe
    cdef char* rest                     # received bytes that OpenSSL hasn't taken yet
    cdef bint resting                   # pipe.inp points into it
    cdef readonly bint accepting        # the server's side
    cdef readonly bint established
    cdef readonly bint http2            # what ALPN may choose; afterwards, what it chose
    cdef readonly bint challenge        # a certificate authority looks at its challenge (RFC 8737), and no more
    cdef readonly bint plain_http       # the client spoke HTTP without TLS
    cdef readonly str failure           # why it failed, in OpenSSL's words
    cdef readonly object server         # TlsServer or TlsClient, whose connection it is
    cdef object place                   # of a client's: which sessions fit
    cdef readonly object identity       # TlsIdentity that was chosen by server_name
    cdef readonly str server_name       # what the client asked for, or None
    cdef int create(self, openssl.SSL_CTX* context) except? -1
    cdef int step(self)                                 # of the handshake: 1 done, 0 wants input, -1 failed
    cdef int read(self, char* buf, int cap)             # > 0 bytes; 0 the peer is done; -1 wants input; -2 failed
    cdef int peek(self)                                 # 1 there are bytes; 0, -1, -2 as above
    cdef int write(self, const char* p, Py_ssize_t n) noexcept    # 0; -1 failed
    cdef int say_goodbye(self) noexcept                 # close_notify
    cdef void give(self, const char* p, Py_ssize_t n) noexcept    # received bytes; they must stay until `hold`
    cdef int hold(self) noexcept                        # makes what is left of them its own
    cdef bint empty(self) noexcept                      # nothing can be read without new input
    cdef Py_ssize_t output(self, char** p) noexcept     # what is to be sent; good until the next call of any Tls
    cdef int note_failure(self)
    cdef void fail(self, str reason) noexcept
    cdef int outcome(self, int r)
