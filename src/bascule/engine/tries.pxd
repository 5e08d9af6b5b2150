from bascule.engine.exchange cimport Exchange
from bascule.net.poller cimport Handle
from bascule.wire.http1 cimport Parsed

cdef int send_request(Exchange x)
cdef int upstream_failed(Exchange x, int reason, str detail)
cdef bint retries_status(Exchange x, const char* p, Parsed* m)

cdef int status_of(int reason) noexcept
cdef int time_try(Exchange x, long long since)

# Bounds one try, and says when another one is to go along with it.
cdef class TryTimer(Handle):
    cdef Exchange x
    cdef long long ends             # us: the try takes too long from then on
    cdef long long hedge_at         # us: another one goes along with it then
    cdef bint sending               # when it was looked at last, the client was still sending
    cdef int wait(self)
