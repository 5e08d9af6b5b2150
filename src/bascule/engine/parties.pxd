from bascule.net.poller cimport Handle, Poller
from bascule.net.stream cimport Stream
# exchange.pxd and parties.pxd name each other's classes, so each declares its own before it reads the other.
cdef class Core
cdef class Downstream(Stream)
cdef class StandIn(Downstream)
cdef class Tee
cdef class Upstream(Stream)
cdef class Relay(Handle)

from bascule.match.router cimport Router
from bascule.plugin.response cimport Response
from bascule.wire.http1 cimport Limits, Parsed
from bascule.wire.proxy_protocol cimport ProxyHeader
from bascule.engine.endpoint cimport Endpoint, UpstreamPlan
from bascule.engine.exchange cimport Exchange
from bascule.engine.plan cimport ChainPlan, RoutePlan

cdef enum:
    # Core.draining
    DRAIN = 1           # each connection closes after what has come on it
    DRAIN_LAST = 2      # each connection closes with the next response

# What an exchange needs of the engine; engine/server.py implements it.
cdef class Core:
    cdef Poller poller
    cdef readonly object loop
    cdef readonly object tables
    cdef Router router
    cdef dict consumer_keys             # plugin -> key -> ConsumerBinding; the tables' own
    cdef readonly object settings
    cdef public object log              # logging.Logger
    cdef Limits request_limits
    cdef Limits response_limits
    cdef char* scratch                  # what one receive fills
    cdef char* out                      # where heads are built
    cdef int out_cap
    cdef list spare                     # exchanges to use again
    cdef int draining
    cdef long generation                # of the tables
    cdef long long max_body             # bytes, 0: unlimited
    cdef int keepalive_ms
    cdef int header_ms
    cdef int body_ms
    cdef int send_ms
    cdef int upstream_ping_ms           # HTTP/2: silence of a connection in use before a PING; 0: none
    cdef long keepalive_requests
    cdef int path_flags
    cdef bytes server_line              # "Server: ...\r\n"
    cdef bint show_upstream_status
    cdef bint shedding                  # some new requests are to be refused: see shed()
    cdef long long gathered             # bytes of request bodies that copies of requests wait for
    cdef readonly object guards         # engine/node_guards.py
    cdef dict tunnels                   # route id -> set of exchanges
    cdef object trusted                 # AddressSet or None: who may set X-Forwarded-*
    cdef readonly dict challenges       # path -> what a certificate authority wants to read there; None: none asks
    cdef public object open_trace       # (token) -> LiveTrace or None, for requests with X-Bascule-Debug
    cdef bytes date_line                # "Date: ...\r\n" of this second
    cdef long long date_due
    # counters
    cdef readonly long long accepted
    cdef readonly long long requests
    cdef readonly long active           # client connections
    cdef readonly long exchanges        # in flight
    cdef readonly long long by_class[6]
    cdef readonly long long upstream_failures
    cdef readonly long long retries
    cdef readonly long long refused_heads
    cdef readonly long long refused_proxies     # connections without the PROXY header that the listener wants
    cdef bint asks_clients              # some name that is served asks clients for certificates
    cdef readonly long long handshakes      # TLS, towards clients
    cdef readonly long long resumptions
    cdef int count_failure(self, str reason)    # of a TLS handshake
    cdef readonly long http2_connections    # open ones
    cdef readonly long long http2_streams
    cdef int http2_failed(self, str reason)     # counts what a client did wrong
    cdef int need_out(self, int n)
    cdef int fresh_date(self) noexcept
    cdef Upstream acquire(self, Exchange x, Endpoint e, UpstreamPlan plan)
    cdef RoutePlan plan_of(self, object route)
    cdef UpstreamPlan plan_for(self, object handle, object route)    # of an upstream that a plugin chose; None: gone
    cdef ChainPlan global_plan(self)
    cdef int record(self, Exchange x)     # access log and counters of a finished exchange
    cdef int resolve(self, Endpoint e, Exchange x)
    cdef int count_hedge(self, str result)      # won, lost, failed, over budget
    cdef int count_retry(self, str cause)       # connect, timeout, reset, malformed, status, stale, over budget
    cdef Relay relay_of(self, Exchange x)
    cdef object shed(self, int kind)      # of a class: the answer for a new request, None: it is served

# The client's side of exchanges.
cdef class Downstream(Stream):
    cdef char host_text[64]             # client address
    cdef int host_len
    cdef str host_str                   # the same as text, once somebody asked
    cdef int peer_port
    cdef int local_port
    cdef bint is_unix
    cdef readonly ProxyHeader proxied   # who the client is by a PROXY header; None: the connection's own peer
    cdef bint secure
    cdef readonly object quic           # engine/http3_connection.py's Shown: the request came by HTTP/3; else None
    cdef bytes alt_svc                  # "Alt-Svc: ...\r\n" for its responses, or None
    cdef long served                    # requests of this connection
    cdef bint takes_chunks              # HTTP/1.1
    cdef bint close_after
    cdef bint over                      # a tunnel's client has closed its side
    cdef int interim(self, const char* p, Parsed* m)                  # passes a 1xx on
    cdef int begin_response(self, Exchange x, const char* p, Parsed* m, const char* body, Py_ssize_t n)
    cdef int data(self, Exchange x, const char* p, Py_ssize_t n)      # body bytes in x.body_mode
    cdef int end(self, Exchange x)                                    # the response is complete
    cdef int answer(self, Exchange x, Response r)                     # a whole response made here
    cdef int resume(self)                                             # may read on
    cdef int finished(self, Exchange x)                               # the exchange is over; next request
    cdef int abort(self)                                              # close at once, truncated
    cdef int tunnel(self, Exchange x, const char* p, Parsed* m)       # a 101 head, then bytes both ways
    cdef int more_body(self, Exchange x)                              # a plugin waits for body bytes

# The client's side of an exchange that has no client of its own: what it is told goes nowhere.
cdef class StandIn(Downstream):
    cdef int stand_for(self, Downstream down)                         # looks to upstreams like this one

# Who takes a copy of a request body as it comes.
cdef class Tee:
    cdef int add(self, Exchange x, const char* p, Py_ssize_t n, bint last)    # -1: it wants no more
    cdef int lost(self)                                                       # it doesn't come whole

# The upstream's side of one exchange at a time.
cdef class Upstream(Stream):
    cdef Exchange x                     # None: idle in the pool
    cdef Endpoint endpoint
    cdef UpstreamPlan plan
    cdef bint connecting
    cdef bint reused
    cdef bint over                      # a tunnel's upstream has closed its side
    cdef long long mark                 # `sent` when this exchange took it
    cdef long long mark_in
    cdef long uses
    cdef int address_index
    cdef int resolution                 # of the endpoint, that address_index belongs to
    cdef bint bare                      # takes body bytes without HTTP/1.1's chunk framing
    # The request, in this order; each 0 or -1: broken. What isn't taken at once counts as wlen.
    cdef int send_head(self, Exchange x, const char* p, int n, bint last)   # as build_request wrote it; last: no body
    cdef int send_body(self, const char* p, Py_ssize_t n)     # with the framing that its head announced, unless bare
    cdef int send_chunk(self, const char* p, Py_ssize_t n)    # bytes to be framed here
    cdef int end_body(self, bint chunked)                     # chunked: it went by send_chunk
    cdef int begin(self, Exchange x)          # its request head has been sent
    cdef int pump(self)                       # the client can take more
    cdef int release(self)                    # the exchange is over
    cdef int cancel(self)                     # give up, close
    cdef int tunnel_pump(self)

# What looks at the frames of a WebSocket on their way; engine/websocket.py implements it. -1: the WebSocket is over.
cdef class Relay(Handle):
    cdef bint closing               # both sides have been told: what they still send goes nowhere
    cdef int from_client(self, const char* p, Py_ssize_t n)
    cdef int from_upstream(self, const char* p, Py_ssize_t n)
    cdef int end(self, int code, str reason)    # closes it, for both sides
    cdef int stop(self)                         # the exchange is over
