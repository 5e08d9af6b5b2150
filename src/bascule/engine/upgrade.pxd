from bascule.engine.exchange cimport Exchange
from bascule.wire.http1 cimport Parsed

cdef int plain_handshake(Exchange x)
cdef int switch(Exchange x, const char* p, Parsed* m)
cdef int cut_tunnel(Exchange x)
