cimport cython
from bascule.plugin.request cimport Request
from bascule.wire.head cimport Head


@cython.freelist(64)
cdef class Response:
    cdef public int status
    cdef public object body         # bytes of an answer made here; None for an upstream's streamed body
    cdef public str source          # "upstream", "gateway" (an error of ours), "plugin"
    cdef public bint length_kept    # set by a header_filter whose body_filter leaves the length as it is
    # Set by a header_filter whose body_filter makes a body of just this length; of an answer made here to HEAD, the
    # length that is told of the body which isn't sent, -1: none.
    cdef public object body_length
    cdef public long long hold_limit    # set by a header_filter: the head waits for a body of at most so many bytes
    cdef public list trailers       # [(name, value)], str: what came, for the last call of body_filter; may be changed
    cdef Head head                  # upstream head, None for answers made here
    cdef list added                 # [(name: bytes, value: bytes)] to append to head's fields; None: nothing
    # Bits of the lengths of all names (modulo 64) and perhaps of more, once measured.
    cdef unsigned long long lengths
    cdef bint measured
    cdef object find(self, str name)
    cpdef take_headers(self, Request request)
    cdef int append(self, tuple pair) except -1
    cdef int place(self, str name, tuple pair) except -1
    cdef int measure(self) except -1

cdef class AddHeaders:
    cdef list pairs                 # [(name: bytes, value: bytes)]
    cdef int add_to(self, Response response) except -1
