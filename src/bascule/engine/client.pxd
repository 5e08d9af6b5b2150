from bascule.wire.chunk cimport Chunk
from bascule.engine.exchange cimport Exchange
from bascule.engine.parties cimport Core, Downstream

cdef enum:
    # Http1Client.state
    C_HEAD = 0          # waits for, or reads, a request head
    C_BODY = 1          # request body
    C_WAIT = 2          # the request is whole; its response is on the way
    C_CLOSING = 3       # closes once what was written has gone out
    C_LINGER = 4        # reads and drops what comes, so that the client gets to read our last answer
    C_TUNNEL = 5

cdef class Http1Client(Downstream):
    cdef Core core
    cdef Exchange x
    cdef int state
    cdef bint busy              # inside feed(): finished() leaves the rest to it
    cdef bint unread            # request bytes may be left in the kernel
    cdef bint head_timed        # the header timeout runs
    cdef bint unnamed           # a PROXY header has to come first
    cdef bint http2             # may be spoken here
    cdef int scanned            # bytes of an incomplete head that were looked at
    cdef long long left         # body bytes left of a Content-Length
    cdef Chunk chunk
    cdef bytes trailer_section  # what came of it, while it is incomplete
    cdef int keep_trailers(self, bytes piece)
    cdef const char* fp         # what feed() works on
    cdef Py_ssize_t fn
    cdef Py_ssize_t fk
    cdef int pump(self)
    cdef bint introduced(self)
    cdef bint greeted(self)
    cdef int half_over(self)
    cdef int feed(self, const char* p, Py_ssize_t n)
    cdef int take_head(self)
    cdef int take_body(self)
    cdef int feed_rest(self)
    cdef void await_request(self) noexcept
    cdef bint more_came(self) noexcept
    cdef int gone(self)
    cdef int refuse(self, int status)
    cdef int wind_up(self)
    cdef int linger(self)
    cdef void body_complete(self) noexcept
    cdef int written(self, int result)
    cdef char* status_line(self, char* o, int status)
    cdef char* put_connection(self, char* o, Exchange x) noexcept
    cdef char* put_upstream_status(self, char* o, Exchange x)
    cdef char* put_own(self, char* o, bint dated)
