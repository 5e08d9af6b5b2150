from bascule.balance.picker cimport Picker
from bascule.net.address cimport Address
from bascule.engine.retry cimport RetryPlan
from bascule.net.tls_client cimport TlsClient
from bascule.wire.head cimport Head

# One server address "host:port" as this worker sees it; shared by all upstreams that name it, kept over
# configuration changes.
cdef class Endpoint:
    cdef object __weakref__
    cdef readonly str host
    cdef readonly int port
    cdef Address* addresses
    cdef int count                  # addresses known; 0: not resolved yet, or the name has none
    cdef int preferred              # so many at the front take turns: the IPv4 ones, else all
    cdef long long* down_until      # us, per address: it refused a connection, others go first
    cdef int next
    cdef int resolution             # counts the answers that the addresses came from
    cdef readonly bint literal
    cdef readonly str failure       # why the name has no address, or None
    cdef list idle                  # idle connections, the latest last
    cdef list http2                 # HTTP/2 connections that take further exchanges
    cdef list waiters               # exchanges that wait for the first resolution
    cdef readonly long active       # exchanges in flight
    cdef readonly long awaited      # those not answered yet, of upstreams that look for stalled nodes
    cdef readonly long long silent_since    # us: since then nothing has answered that is awaited
    cdef readonly long long picks
    cdef int choose(self, long long now) noexcept
    cdef void mark_down(self, int i, int resolution, long long now) noexcept
    cdef void take(self, Address* fresh, int n) noexcept
    cdef void await_answer(self, long long now) noexcept

# What the engine keeps for one configured upstream.
cdef class UpstreamPlan:
    cdef readonly object upstream   # CompiledUpstream
    cdef list endpoints
    cdef int count
    cdef object read_key            # hash_key.key_reader
    cdef readonly Picker balancer   # None: no node has a weight
    cdef bint counts                # it wants to hear of each try
    cdef int single                 # the only node that can be picked, -1
    cdef int connect_ms
    cdef int send_ms
    cdef int read_ms
    cdef long long stall_us         # a node is stalled when it was silent for so long, 0: none ever is
    cdef int stall_requests         # while so many wait for it
    cdef int retries
    cdef long long retry_timeout_us
    cdef RetryPlan retry            # of its retry_policy; None: it has none
    cdef int keep_size
    cdef int keep_idle_ms
    cdef long keep_requests
    cdef bint keep
    cdef int proxy_protocol         # version of the header that a connection begins with, which is one client's then; 0
    cdef bint http2
    cdef bint grpc
    cdef int pass_host              # 0 pass, 1 node, 2 rewrite
    cdef bytes rewrite_host
    cdef list node_hosts            # bytes per node, None until node_host() is asked
    cdef bint secure                # over TLS
    cdef TlsClient tls              # None: it can't be used, and the error log says why
    cdef str refused_tls            # that reason
    cdef readonly frozenset passed_over     # indexes of nodes that get no requests at present (engine/node_states.py)
    cdef public object guard        # engine/node_guards.py's NodeGuard; None: no node is out, and none is watched
    cdef public long long probe_at  # us of the poller's clock: then the guard has a node to be probed
    cdef public tuple observers     # of how each try went, see outcome.py's tell()
    cdef public object sticky       # engine/sticky.py's StickySessions, or None
    cdef object __weakref__
    cdef bytes node_host(self, int i)
    cdef int pick(self, object key, set tried)
    cdef int lively(self, int node, object key, set tried, long long now)
    cdef bint stalled(self, int node, long long now) noexcept
    cpdef pass_over(self, frozenset nodes)
