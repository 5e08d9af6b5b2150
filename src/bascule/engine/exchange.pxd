cimport cython
from bascule.net.poller cimport Handle, Poller
from bascule.net.stream cimport Stream
from bascule.net.address cimport Address
from bascule.wire.http1 cimport Parsed, Limits
from bascule.wire.chunk cimport Chunk
from bascule.wire.head cimport Head
from bascule.wire.proxy_protocol cimport ProxyHeader
from bascule.match.router cimport Router
from bascule.plugin.request cimport Request
from bascule.plugin.response cimport Response
from bascule.engine.endpoint cimport Endpoint, UpstreamPlan
from bascule.engine.failure cimport (
    F_CONNECT, F_CONNECT_TIMEOUT, F_CLOSED, F_READ_TIMEOUT, F_SEND_TIMEOUT, F_MALFORMED, F_NO_ADDRESS
)
from bascule.engine.plan cimport ChainPlan, RoutePlan, Step

cdef enum:
    # Exchange.state
    X_NEW = 0
    X_PHASES = 1        # a hook is suspended
    X_RESOLVE = 2       # waits for the first resolution of a name, or before its next try
    X_SENT = 3          # the request is on its way, no final response head yet
    X_RESPONSE = 4      # the response head went to the client
    X_ANSWERED = 5      # an answer made here went to the client
    X_TUNNEL = 6
    X_DONE = 7

cdef enum:
    # Core.draining
    DRAIN = 1           # each connection closes after what has come on it
    DRAIN_LAST = 2      # each connection closes with the next response

cdef enum:
    # how a response body goes to the client
    BODY_NONE = 0
    BODY_RAW = 1        # the upstream's bytes as they are, framing included
    BODY_CHUNKED = 2    # decoded and chunked anew
    BODY_PLAIN = 3      # decoded; its end is the announced length or the end of the connection

# What an exchange needs of the engine; engine/server.py implements it.
cdef class Core:
    cdef Poller poller
    cdef readonly object loop
    cdef readonly object tables
    cdef Router router
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


@cython.no_gc_clear
cdef class Exchange:
    cdef Core core
    cdef Downstream down
    cdef Upstream up
    cdef Head req
    cdef Head resp                      # filled when somebody looks at it
    cdef bint resp_kept
    cdef const char* path
    cdef int path_len
    cdef char* path_buf                 # normalised path when it differs from the received one
    cdef int path_cap
    cdef object route
    cdef RoutePlan plan
    cdef ChainPlan chain
    cdef Request request
    cdef Response response
    cdef object trace                   # LiveTrace or None
    cdef object pattern                 # matched path and host patterns
    cdef object host_pattern
    cdef dict params
    cdef int state
    cdef int status
    cdef int source                     # 0 gateway, 1 plugin, 2 upstream
    cdef bint head_request              # the client's method is HEAD
    cdef bint head_sent                 # the method sent upstream is: a plugin may have changed it
    cdef bint asked_body                # a variable of the body was asked for, and nothing of it is held
    cdef bytes ws_key                   # made here, for a WebSocket of an HTTP/2 client; its answer is checked
    cdef bint shadow                    # a copy of a request: nobody waits for its response, and nothing counts it
    cdef list tees                      # who takes copies of the body, or None
    cdef bint websocket                 # the client asked for an upgrade and the route allows it
    cdef Relay relay                    # of a WebSocket whose frames are looked at; None: a tunnel of bytes
    cdef long idle_ms                   # how long a tunnel may be silent
    # request body
    cdef bint has_body
    cdef bint body_done                 # wholly received
    cdef bint body_sent                 # wholly passed on
    cdef bint continued                 # 100 Continue went out
    cdef bint recode                    # request chunks are made here: part of the body was held, or it came in frames
    cdef object held                    # HeldBody or None
    cdef long long held_want            # bytes a plugin waits for, -1: nobody waits
    cdef object held_waiter             # Future
    cdef char* replay                   # body bytes sent upstream, for a retry
    cdef int replay_len
    cdef int replay_cap
    cdef bint replay_lost
    cdef long long body_bytes           # request body received
    cdef long long body_limit           # so many may be; 0: any number
    cdef bint holds_body                # all of it has to be here before the upstream gets any
    cdef list request_trailers          # [(lower-case name, value)], bytes, or None; set before its end is told
    # upstream choice
    cdef UpstreamPlan upstream
    cdef int node
    cdef Endpoint endpoint
    cdef object key                     # for chash
    cdef set tried
    cdef list tries                     # [(address, status text, seconds text)] of failed tries
    cdef int left                       # retries left
    cdef int addresses_left             # of the node's name, not tried yet
    cdef bint no_pool
    cdef bint probing                   # the guard chose the node of this try, to see whether it works again
    cdef bytes cookie                   # that the response sets: the client is to come back to this node
    cdef bint stuck                     # the node is the one that the client's cookie names
    cdef bint told                      # observers know how this try went
    cdef bint awaits                    # counts as waiting for the node to answer, see Endpoint.awaited
    cdef object pause                   # _Pause before the next try, or None
    cdef TryTimer timer                 # kept for the next exchange; None: none was needed yet
    # response
    cdef int body_mode
    cdef bint response_done
    cdef int ahead                      # bytes of it that may wait for the client before the upstream is held up
    cdef list trailers                  # of the response, as request_trailers; set before response_end()
    cdef int upstream_status
    cdef bint filtering                 # body_filter hooks are installed for this response
    cdef list gathered                  # body of a response whose head waits for its end; None: it streams
    cdef long long gathered_size
    cdef long long response_left        # announced length still to go out when body_mode is BODY_PLAIN; -1 unknown
    # phases
    cdef object task
    cdef list steps                     # where the chain goes on after a suspension
    cdef int step_index
    cdef int phase
    cdef object merged                  # binding whose plugins are in chain
    cdef dict passed                    # results of _meta.filter, by filter
    cdef long long held_offset          # of the held body, sent upstream so far
    cdef str failure                    # why the gateway answered an error of its own
    # times, us of the poller's clock
    cdef long long t_start
    cdef long long t_connect
    cdef long long t_sent
    cdef long long t_try                # when the node of this try was chosen
    cdef long long t_head
    cdef long long t_end
    cdef long long sent_before
    cdef long long received_before
    cdef long long head_bytes           # of the response, as sent
    cdef int start(self)
    cdef int refuse_head(self, int status)      # there is no head to look at
    cdef int find_route(self)
    cdef int run(self)
    cdef object run_steps(self, list steps, int i)
    cdef object settle(self, Step step, object result)
    cdef int connect(self)
    cdef int send_request(self)
    cdef int body_in(self, const char* p, Py_ssize_t n, const char* data, Py_ssize_t k, bint last)
    cdef int pass_body(self, const char* p, Py_ssize_t n)
    cdef int forward_body(self, const char* p, Py_ssize_t n)
    cdef int request_body_end(self)
    cdef int upstream_failed(self, int reason, str detail)
    # decides body_mode; -> 1: go on, 0: answered otherwise
    cdef int on_response_head(self, const char* p, Parsed* m)
    cdef int response_end(self)
    cdef int push_held(self)
    cdef int tell_tees(self, const char* p, Py_ssize_t n, bint last)
    cdef int upstream_deaf(self)
    cpdef drop_upstream(self)
    cdef ChainPlan traced(self, ChainPlan plan)
    cpdef cut(self)
    cpdef Request ensure(self)
    cdef bint wants_body(self) noexcept
    cdef bint may_replay(self) noexcept
    cdef int note_try(self, object status)
    cdef int attempt(self)
    cdef int stick(self)
    cdef double waited(self) noexcept
    cdef int tell(self, int status, int reason, bint sent)
    cdef int tell_cut(self, int reason)
    cdef int leave(self, bint ok)
    cdef int heard(self)
    cdef int other_node(self)
    cdef int no_node(self)
    cdef int unserved(self, int status, str reason)
    cdef int try_again(self, str cause, double wait_s)
    cdef bint retries_status(self, const char* p, Parsed* m)
    cdef int time_try(self)
    cdef int try_timed_out(self)
    cdef int next_phase(self)
    cdef int suspended(self, Step step, int i, object coro, object first)
    cdef int on_response_data(self, const char* p, Py_ssize_t n, bint last)
    cdef int respond(self, Response r, int source)
    cdef int fail(self, int status, str reason)
    cdef bint asks_grpc(self) noexcept
    cdef int switch(self, const char* p, Parsed* m)
    cdef int plain_handshake(self)
    cdef int handshake_hooks(self, const char* p, Parsed* m)
    cdef int finish(self)
    cdef int client_gone(self)
    cdef int filter_body(self, bytes chunk, bint last)
    cdef int take_trailers(self, list before)
    cdef int gather(self, const char* p, Py_ssize_t n)
    cdef int answer_gathered(self)
    cdef int run_header_filters(self)
    cdef int wake_holder(self)
    cdef void reset(self) noexcept

# Bounds one try.
cdef class TryTimer(Handle):
    cdef Exchange x
    cdef bint sending               # when it was looked at last, the client was still sending

cdef Exchange fresh(Core core)
# The end of a chunked body.
cdef bytes last_chunk(list trailers)
