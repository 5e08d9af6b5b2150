from bascule.engine.exchange cimport Exchange

cdef int connect(Exchange x)
cdef int attempt(Exchange x)
cdef int resolved(Exchange x)
