from bascule.engine.exchange cimport Exchange

cdef int note_try(Exchange x, object status)
cdef int tell(Exchange x, int status, int reason, bint sent)
cdef int tell_failure(Exchange x, int reason, bint begun)
cdef int tell_cut(Exchange x, int reason)
cdef int heard(Exchange x)
cdef int leave(Exchange x, bint ok)
cdef int drop_upstream(Exchange x)
