from bascule.engine.endpoint cimport UpstreamPlan
from bascule.engine.exchange cimport Exchange
from bascule.engine.parties cimport Core, StandIn, Tee

# Where copies of requests go.
cdef class Mirror:
    cdef Core core
    cdef object make_plan           # () -> UpstreamPlan, of the tables as they are
    cdef UpstreamPlan plan
    cdef long generation            # of the tables that the plan was made by
    cdef object told                # (result, detail) of each copy
    cdef int most                   # copies under way at a time
    cdef long long body_limit       # bytes of body that a copy may have
    cdef readonly int under_way
    cdef int go(self, Exchange x, bytes target, bytes host, bytes body)

# A request body that is gathered for a copy while it streams.
cdef class BodyTee(Tee):
    cdef Mirror mirror
    cdef bytes target
    cdef bytes host
    cdef object gathered            # bytearray
    cdef int give_up(self, str result)

# The client's side of a copy: nobody.
cdef class Nobody(StandIn):
    cdef Mirror mirror
    cdef Exchange x
    cdef long long dropped
    cdef long long held             # bytes of the body that is sent
