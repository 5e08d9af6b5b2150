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

cdef class ChainPlan:
    cdef readonly object chain
    cdef list rewrite
    cdef list access
    cdef list before_proxy
    cdef list header_filter
    cdef list body_filter
    cdef list log
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
    cdef int missing                # status to answer because a reference names nothing, 0
    cdef bint websocket
