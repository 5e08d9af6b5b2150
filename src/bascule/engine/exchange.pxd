cimport cython
# exchange.pxd and parties.pxd name each other's classes, so each declares its own before it reads the other.
cdef class Exchange

from bascule.net.poller cimport Handle
from bascule.wire.head cimport Head
from bascule.plugin.request cimport Request
from bascule.plugin.response cimport Response
from bascule.engine.endpoint cimport Endpoint, UpstreamPlan
from bascule.engine.parties cimport Core, Downstream, Relay, Upstream
from bascule.engine.plan cimport ChainPlan, RoutePlan

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
    # how a response body goes to the client
    BODY_NONE = 0
    BODY_RAW = 1        # the upstream's bytes as they are, framing included
    BODY_CHUNKED = 2    # decoded and chunked anew
    BODY_PLAIN = 3      # decoded; its end is the announced length or the end of the connection

cdef enum:
    # Exchange.phase
    P_REWRITE = 0
    P_BROUGHT = 1       # rewrite, of plugins that the consumer brought
    P_ACCESS = 2
    P_BEFORE_PROXY = 3
    P_HOLD = 4          # the body, for the router's conditions
    P_WHOLE = 5         # the body, before the upstream is asked


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
    cdef Exchange lead                  # of a rival (engine/hedge.py): whose further try it is; None: it is no rival
    cdef list rivals                    # further tries under way, or None
    cdef int hedges                     # so many have begun
    cdef Handle timer                   # TryTimer, kept for the next exchange; None: none was needed yet
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
    cpdef Request ensure(self)
    cdef void reset(self) noexcept

cdef Exchange fresh(Core core)
cdef str source_name(int source)
