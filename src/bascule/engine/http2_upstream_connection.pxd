from libc.stdint cimport int32_t
from bascule.engine.endpoint cimport Endpoint, UpstreamPlan
from bascule.engine.parties cimport Core
from bascule.engine.http2_upstream cimport Http2Carrier, Http2Upstream
from bascule.net.nghttp2 cimport nghttp2_nv, nghttp2_option, nghttp2_session, nghttp2_session_callbacks
from bascule.wire.http1 cimport Parsed

# One connection, with as many exchanges on it as both sides allow.
cdef class Http2UpstreamConnection(Http2Carrier):
    cdef Core core
    cdef Endpoint endpoint
    cdef char* inbuf
    cdef char* outbuf
    cdef char* head             # the header block that comes in, as HTTP/1.1 text
    cdef int head_len
    cdef int head_cap
    cdef list trailers          # fields of the trailers that come in
    cdef int trailers_size
    cdef nghttp2_nv* fields     # of the request that goes out
    cdef int fields_cap
    cdef bint opened_tcp        # TLS, if there is any, follows
    cdef bint inside            # nghttp2 is on the stack
    cdef bint flushing          # on_event(0) is due
    cdef bint retiring          # takes no further exchanges
    cdef dict streams           # id -> Http2Upstream, all that the peer takes for open
    cdef list emptied           # whose request body can go on
    cdef long opened
    cdef long keep_idle_ms      # as the last exchange's upstream says
    cdef int keep_size
    cdef long chatter           # frames without use since the last useful one
    cdef bint heard             # something has come since the timer was set
    cdef bint pinged            # a PING waits for its answer
    cdef int address_index
    cdef int resolution
    cdef int start(self, const nghttp2_session_callbacks* callbacks, const nghttp2_option* options)
    cdef bint has_room(self, UpstreamPlan plan) noexcept
    cdef bint fits(self, UpstreamPlan plan, str name) noexcept
    cdef bint secured(self)
    cdef bint stands(self)
    cdef int write(self)
    cdef int pump(self)
    cdef int established(self)
    cdef int rest(self)
    cdef int retire(self)
    cdef int put_head(self, const char* p, size_t n) noexcept
    cdef bint read_head(self, Parsed* m) noexcept
    cdef int take_head(self, Http2Upstream u, bint last)
    cdef void field(self, int i, const char* name, int name_len, const char* value, int value_len) noexcept
    cdef int more_fields(self)
    cdef bint send_trailers(self, int id, list trailers) noexcept
    cdef int stumbled(self, Http2Upstream u, object error)
    cdef int watch_over(self)
    cdef int ask_for_life(self)

# The Http2Upstream of a stream; NULL: there is none any more.
cdef void* stream_of(nghttp2_session* session, int32_t id) noexcept
