from bascule.engine.exchange cimport Exchange

cdef int refuse_head(Exchange x, int status)      # there is no head to look at
cdef int start(Exchange x)
cdef int find_route(Exchange x)
cdef int hide_forwarded(Exchange x)
cdef str asked_host(Exchange x)
