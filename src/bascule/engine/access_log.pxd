from bascule.engine.exchange cimport Exchange

# One piece of the format: a literal or a variable.
cdef class Piece:
    cdef int kind
    cdef bytes text         # literal; header name in lower case; variable name

cdef class AccessLog:
    cdef list pieces
    cdef object write           # callable(bytes): the writer's queue
    cdef char* buf
    cdef int size
    cdef int cap
    cdef int limit
    cdef int escape             # 0 default, 1 json, 2 none
    cdef bytes time_local
    cdef bytes time_iso
    cdef long long time_due
    cdef readonly long long lines
    cdef int record(self, Exchange x)
    cdef int room(self, int n)
    cdef int put(self, const char* p, Py_ssize_t n)
    cdef int put_escaped(self, const char* p, Py_ssize_t n)
    cdef int put_seconds(self, long long us)
    cdef int put_integer(self, long long value)
    cdef int put_piece(self, Exchange x, Piece piece)
    cdef int fresh_time(self, long long now)
