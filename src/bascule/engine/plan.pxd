from bascule.engine.endpoint cimport UpstreamPlan

# One hook of a chain, unpacked for the phase runner.
cdef class Step:
    cdef object call
    cdef readonly str plugin
    cdef object filter              # Expression or None
    cdef object error_response      # replaces the body of an error the plugin returns; None
    cdef bint needs_task
    cdef bint bare                  # no filter, no error_response, no task: call it and look at the result
    cdef bint observes_body
    cdef int payload                # of a frame hook: 0 heads only, 1 frames, 2 messages
    cdef Py_ssize_t max_bytes       # of a message that is held for it

cdef class ChainPlan:
    cdef readonly object chain
    cdef list rewrite
    cdef list access
    cdef list before_proxy
    cdef list header_filter
    cdef list body_filter
    cdef list log
    cdef list ws_handshake
    cdef list ws_client
    cdef list ws_upstream
    cdef bint inspects              # a WebSocket's handshake or frames
    cdef bint has_any
    cdef bint needs_response        # header_filter, body_filter or log: somebody looks at the response's head
    cdef ChainPlan bare             # cache of without_filters

# What the engine keeps for one CompiledRoute (in route.plan).
cdef class RoutePlan:
    cdef readonly object route
    cdef long generation            # of the tables when it was made; older: look again
    cdef ChainPlan chain
    cdef UpstreamPlan upstream      # None: none configured
    cdef object refusal
    cdef int shed_class             # load_shedding.pxd's SHED_*
    cdef int missing                # status to answer because a reference names nothing, 0
    cdef bint websocket
    cdef long ws_idle_ms            # limits of a WebSocket; 0: none of its own
    cdef long ws_lifetime_ms
    cdef long ws_ping_ms
    cdef int take_limits(self, object limits)
