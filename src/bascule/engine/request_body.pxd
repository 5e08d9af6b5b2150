from bascule.engine.exchange cimport Exchange

cdef enum:
    REPLAY_LIMIT = 131072       # body bytes kept for a further try while no response has begun

cdef bint wants_body(Exchange x) noexcept
cdef int body_in(Exchange x, const char* p, Py_ssize_t n, const char* data, Py_ssize_t k, bint last)
cdef int pass_body(Exchange x, const char* p, Py_ssize_t n)
cdef int push_held(Exchange x)
cdef int upstream_deaf(Exchange x)
cdef bint body_sent_or_none(Exchange x) noexcept
cdef int tell_tees(Exchange x, const char* p, Py_ssize_t n, bint last)
cdef object hold_body(Exchange x, object n)
