from bascule.engine.endpoint cimport Endpoint, UpstreamPlan
from bascule.engine.exchange cimport Core, Exchange, Upstream
from bascule.net.nghttp2 cimport nghttp2_nv, nghttp2_session
from bascule.net.stream cimport Stream
from bascule.wire.http1 cimport Parsed

cdef enum:
    # Http2Upstream.state
    S_HEAD = 0          # the response head is awaited
    S_BODY = 1
    S_DONE = 2          # the response is whole, the request body still flows
    S_OVER = 3          # the stream is closed, or given up

cdef class Http2Upstream(Upstream)

# One connection, with as many exchanges on it as both sides allow.
cdef class Http2UpstreamConnection(Stream):
    cdef Core core
    cdef Endpoint endpoint
    cdef nghttp2_session* session
    cdef char* inbuf
    cdef char* outbuf
    cdef char* head             # the header block that comes in, as HTTP/1.1 text
    cdef int head_len
    cdef int head_cap
    cdef list trailers          # fields of the trailers that come in
    cdef int trailers_size
    cdef nghttp2_nv* fields     # of the request that goes out
    cdef int fields_cap
    cdef bint connecting
    cdef bint opened_tcp        # TLS, if there is any, follows
    cdef bint inside            # nghttp2 is on the stack
    cdef bint flushing          # on_event(0) is due
    cdef bint retiring          # takes no further exchanges
    cdef bint dead
    cdef dict streams           # id -> Http2Upstream, all that the peer takes for open
    cdef list emptied           # whose request body can go on
    cdef int live               # streams that an exchange holds
    cdef long opened
    cdef long keep_idle_ms      # as the last exchange's upstream says
    cdef int keep_size
    cdef long chatter           # frames without use since the last useful one
    cdef int address_index
    cdef int resolution
    cdef int start(self)
    cdef bint has_room(self, UpstreamPlan plan) noexcept
    cdef bint fits(self, UpstreamPlan plan, str name) noexcept
    cdef bint secured(self)
    cdef bint stands(self)
    cdef int submit(self, Http2Upstream u, Exchange x, const char* p, int n, bint last)
    cdef int want_flush(self)
    cdef int write(self)
    cdef int pump(self)
    cdef int established(self)
    cdef int rest(self)
    cdef int retire(self)
    cdef int die(self, int reason, str detail)
    cdef int put_head(self, const char* p, size_t n) noexcept
    cdef bint read_head(self, Parsed* m) noexcept
    cdef int take_head(self, Http2Upstream u, bint last)
    cdef void field(self, int i, const char* name, int name_len, const char* value, int value_len) noexcept
    cdef int more_fields(self)
    cdef bint send_trailers(self, int id, list trailers) noexcept
    cdef int stumbled(self, Http2Upstream u, object error)

# One exchange on it; without a descriptor of its own: wbuf holds what of the request body isn't framed yet.
cdef class Http2Upstream(Upstream):
    cdef Core core
    cdef Http2UpstreamConnection conn
    cdef int id
    cdef int state
    cdef int interims
    cdef bint ended             # the request body is whole
    cdef bint deferred          # nghttp2 waits for request body bytes
    cdef bint refused           # the peer has not looked at it
    cdef bint fresh             # on a connection opened for this exchange alone, after another try
    cdef bint malformed         # what came broke the protocol
    cdef size_t unconsumed      # response bytes that the client has not taken
    cdef long long deadline     # us, of a gRPC call; 0: none
    cdef int arm(self, long ms)
    cdef int take_data(self, const char* p, size_t n)
    cdef int whole(self)
    cdef int closed(self, unsigned int code)
    cdef int lost(self, int reason, str detail)
    cdef int failed(self, int reason, str detail)
    cdef int let_go(self)
    cdef int go_on(self)
