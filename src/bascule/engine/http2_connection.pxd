from libc.stdint cimport int32_t, uint8_t, uint32_t
from bascule.net.nghttp2 cimport (
    nghttp2_data_source,
    nghttp2_frame,
    nghttp2_option,
    nghttp2_session,
    nghttp2_session_callbacks,
)
from bascule.wire.http2_request cimport RequestFields
from bascule.engine.parties cimport Downstream
from bascule.engine.http2_stream cimport Http2Session, Http2Stream

cdef enum:
    # Http2Connection.state
    S_OPEN = 0
    S_NOTICE = 1            # GOAWAY was said; streams that are on their way are still taken
    S_LAST = 2              # no further stream is taken
    S_CLOSING = 3           # closes once what was written has gone out
    S_LINGER = 4            # reads and drops what comes, so that the client gets to read our GOAWAY

cdef enum:
    # Http2Connection.timer: what it runs for
    T_NONE = 0
    T_IDLE = 1
    T_FIELDS = 2            # a header block that doesn't come to its end
    T_OUTPUT = 3            # the client doesn't read
    T_NOTICE = 4
    T_LINGER = 5

cdef enum:
    # An invalid frame or request costs as much as so many frames that only bring nothing.
    INVALID_COST = 10

# Allows `burst` at once and so many a second after that.
cdef struct Allowance:
    double left
    double burst
    double per_s
    long long at            # us, when `left` was reckoned

cdef class Http2Connection(Http2Session):
    cdef Downstream peer            # who the client is
    cdef dict streams               # stream id -> Http2Stream
    cdef RequestFields fields
    cdef Http2Stream opening        # whose header block comes in
    cdef list trailers              # of that block, None: it is a request's
    cdef long long trailer_bytes
    cdef list dropped               # streams that the session may still point to
    cdef int state
    cdef uint32_t sentence          # the code of a GOAWAY that is still to be said
    cdef int timer
    cdef bint inside                # libnghttp2 is at work: neither call nor delete it
    cdef bint queued                # a flush is asked for
    cdef long served
    cdef long long sent_mark
    cdef long long left             # bytes still to be dropped while lingering
    cdef Allowance noise            # frames that bring nothing
    cdef Allowance windows
    cdef Allowance resets
    cdef int start(self, const nghttp2_session_callbacks* callbacks, const nghttp2_option* option)
    cdef int pump(self)
    cdef int take(self, const char* p, Py_ssize_t n)
    cdef int put_out(self)
    cdef int fill_out(self)
    cdef int settle(self)
    cdef int gone(self)
    cdef int end_streams(self)
    cdef void free_session(self) noexcept
    cdef int wind_up(self)
    cdef int last_call(self)
    cdef int linger(self)
    cdef int calm(self, str reason)
    cdef int terminate(self)
    cdef int charge(self, Allowance* a, double cost, str reason)
    cdef int open_stream(self, int32_t id)
    cdef int adopt(self, Http2Stream s, int32_t id)
    cdef int take_field(self, const char* name, Py_ssize_t n, const char* value, Py_ssize_t k)
    cdef int take_trailer(self, const char* name, Py_ssize_t n, const char* value, Py_ssize_t k)
    cdef int begin_request(self, Http2Stream s, bint last)
    cdef int stream_over(self, int32_t id, uint32_t code)

# One DATA frame, its header as given, behind what is gathered: libnghttp2's send_data_callback.
cdef int send_body(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* head, size_t n,
                   nghttp2_data_source* source, void* user) noexcept
