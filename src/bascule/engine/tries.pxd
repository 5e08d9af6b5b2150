from bascule.engine.exchange cimport Exchange
from bascule.net.poller cimport Handle
from bascule.wire.http1 cimport Parsed

cdef int send_request(Exchange x)
cdef int upstream_failed(Exchange x, int reason, str detail)
cdef bint retries_status(Exchange x, const char* p, Parsed* m)

# Bounds one try.
cdef class TryTimer(Handle):
    cdef Exchange x
    cdef bint sending               # when it was looked at last, the client was still sending
