from bascule.wire.chunk cimport Chunk
from bascule.wire.http1 cimport Parsed
from bascule.engine.exchange cimport Exchange
from bascule.engine.parties cimport Core, Upstream

cdef enum:
    # Http1Upstream.state
    U_IDLE = 0
    U_HEAD = 1          # the response head is awaited
    U_LENGTH = 2        # body of an announced length
    U_CHUNKED = 3
    U_CLOSE = 4         # body until the connection closes
    U_DONE = 5          # the response is whole, the request body still flows
    U_TUNNEL = 6

cdef class Http1Upstream(Upstream):
    cdef Core core
    cdef int state
    cdef bint keep              # may be used again
    cdef int interims           # 1xx of this exchange
    cdef long long left
    cdef Chunk chunk
    cdef bytes trailer_section  # what came of it, while it is incomplete
    cdef int feed(self, const char* p, Py_ssize_t n)
    cdef int feed_head(self, const char* p, Py_ssize_t n)
    cdef int feed_upgrade(self, const char* p, Parsed* m, int r)
    cdef int feed_body(self, const char* p, Py_ssize_t n)
    cdef int ended(self, bint error)
    cdef int unpool(self)
    cdef int time_sending(self)
    cdef int keep_trailers(self, bytes piece)
    cdef int whole(self, bint surplus)
    cdef bint lags(self) noexcept
    cdef bint secured(self)
