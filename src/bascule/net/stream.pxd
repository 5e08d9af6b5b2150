from bascule.net.poller cimport Handle
from bascule.net.tls cimport Tls

cdef enum:
    SCRATCH = 65536

cdef class Stream(Handle):
    cdef bint readable          # the kernel may hold bytes for us
    cdef bint half_closed       # the peer sent FIN (or worse): recv to the end
    cdef bint broken            # a write failed: nothing can be sent any more
    cdef bint drained           # with TLS: the kernel held no more than was taken; set False with every event
    cdef readonly Tls tls       # None: what is sent and received is plain
    cdef bytes before_tls       # goes out first, as it is
    cdef char* rbuf             # bytes received and not consumed (incomplete heads, pipelined requests)
    cdef int rlen
    cdef int rcap
    cdef char* wbuf             # bytes accepted and not sent
    cdef int woff
    cdef int wlen
    cdef int wcap
    cdef long long received     # bytes, over the connection's life
    cdef long long sent
    cdef Py_ssize_t receive(self, char* buf, Py_ssize_t cap) noexcept   # > 0 bytes; 0 end; -1 nothing now; -2 error
    cdef int send(self, const char* p, Py_ssize_t n) noexcept           # 0: sent or kept; -1: broken
    cdef int send2(self, const char* p, Py_ssize_t n, const char* q, Py_ssize_t k) noexcept
    cdef int keep(self, const char* p, Py_ssize_t n) noexcept
    cdef void take_output(self, Stream other) noexcept
    cdef int flush(self) noexcept                                       # 0; -1: broken
    cdef int stash(self, const char* p, Py_ssize_t n) noexcept          # into rbuf
    cdef int reserve(self, int n) noexcept                              # room for n more bytes in rbuf
    cdef void consume(self, int n) noexcept                             # drops n bytes from rbuf's front
    cdef void close(self) noexcept
    cdef int handshake(self) noexcept                                   # 1 done; 0 goes on; -1 failed: tls.failure
    cdef bint at_end(self) noexcept                                     # nothing more comes from the peer
    cdef bint quiet(self) noexcept                                      # nothing has come, nor the end
    cdef void end_output(self) noexcept
    cdef long long total_sent(self) noexcept
    cdef Py_ssize_t push(self, const char* p, Py_ssize_t n) noexcept
    cdef Py_ssize_t pull(self, char* buf, Py_ssize_t cap) noexcept
    cdef Py_ssize_t take_in(self) noexcept
    cdef Py_ssize_t receive_sealed(self, char* buf, Py_ssize_t cap) noexcept
    cdef int put_sealed(self) noexcept
    cdef int seal(self, const char* p, Py_ssize_t n, const char* q, Py_ssize_t k) noexcept
