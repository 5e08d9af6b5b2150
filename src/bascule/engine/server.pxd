from bascule.net.poller cimport Handle
from bascule.net.stream cimport Stream
from bascule.net.tls_server cimport TlsServer
from bascule.engine.exchange cimport Exchange
from bascule.engine.parties cimport Core, Upstream
from bascule.engine.endpoint cimport Endpoint, UpstreamPlan
from bascule.engine.access_log cimport AccessLog
from bascule.engine.load_shedding cimport LoadShedder
from bascule.engine.plan cimport ChainPlan, RoutePlan

cdef class Engine(Core):
    cdef object endpoints           # (host, port, secure) -> Endpoint; weak: gone with the last plan and connection
    cdef dict upstream_plans        # not by route: routes with the same upstream and timeouts share one
    cdef ChainPlan global_chain_plan
    cdef object global_chain
    cdef bint on_its_way            # what dial opened is not connected yet
    cdef int dial(self, Stream s, Endpoint e)
    cdef Upstream acquire_stream(self, Exchange x, Endpoint e, UpstreamPlan plan, str name)
    cdef AccessLog access
    cdef public object access_writer
    cdef public object resolver
    cdef list listeners
    cdef public object hosts        # engine/plugin_host.py
    cdef public object counters_table
    cdef readonly object in_flight
    cdef public object metrics
    cdef readonly int worker_id
    cdef long max_connections
    cdef readonly long long turned_away
    cdef TlsServer tls_server
    cdef object tls_clients         # engine/tls_servers.py
    cdef int trust(self, UpstreamPlan plan)
    cdef int secure(self, Stream u, Endpoint e, UpstreamPlan plan, str name, bytes protocols)
    cdef object sticky_key
    cdef readonly object node_states        # engine/node_states.py
    cdef public list on_plan        # called with each new UpstreamPlan
    cdef LoadShedder shedder        # None: load isn't shed
    cdef object tls_failures        # counter by reason
    cdef object retry_causes        # a counter, by cause
    cdef object hedge_results
    cdef object http2_failures      # a counter, by reason
    cdef dict staples               # key of a certificate -> OCSP response
    cdef int staple(self, object ssl)

cdef class Listener(Handle):
    cdef Engine engine
    cdef int port
    cdef bint is_unix
    cdef bint proxy_protocol        # each connection begins with a PROXY header
    cdef bint tls
    cdef bint http2
    cdef bytes alt_svc
    cdef int accept_some(self)
