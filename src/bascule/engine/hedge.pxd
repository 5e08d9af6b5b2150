from bascule.engine.exchange cimport Exchange
from bascule.engine.parties cimport StandIn
from bascule.wire.http1 cimport Parsed

cdef bint may_hedge(Exchange x) noexcept
cdef int hedge(Exchange x)                          # the time for it has come
cdef Exchange winner(Exchange y, Parsed* m)         # whose head came -> who goes on with it; None: nobody
cdef int rival_failed(Exchange y, int reason, str detail)
cdef int give_way(Exchange x)                       # its own try is over, and a rival's becomes its own
cdef int dismiss(Exchange x)                        # no rival is needed any more

# The client's side of a rival.
cdef class Second(StandIn):
    cdef Exchange y                 # None: it is over
