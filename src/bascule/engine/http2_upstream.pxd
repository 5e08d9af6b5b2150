from bascule.net.nghttp2 cimport nghttp2_session
from bascule.net.stream cimport Stream
from bascule.engine.exchange cimport Exchange
from bascule.engine.parties cimport Core, Upstream

cdef enum:
    # Http2Upstream.state
    S_HEAD = 0          # the response head is awaited
    S_BODY = 1
    S_DONE = 2          # the response is whole, the request body still flows
    S_OVER = 3          # the stream is closed, or given up

cdef class Http2Upstream(Upstream)

# What a stream needs of its connection; engine/http2_upstream_connection.py implements it.
cdef class Http2Carrier(Stream):
    cdef nghttp2_session* session
    cdef bint connecting
    cdef bint dead
    cdef int live               # streams that an exchange holds
    cdef int submit(self, Http2Upstream u, Exchange x, const char* p, int n, bint last)
    cdef int want_flush(self)
    cdef int die(self, int reason, str detail)

# One exchange on it; without a descriptor of its own: wbuf holds what of the request body isn't framed yet.
cdef class Http2Upstream(Upstream):
    cdef Core core
    cdef Http2Carrier conn
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

cdef str said(const char* text)
