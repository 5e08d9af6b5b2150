from bascule.net.nghttp2 cimport nghttp2_nv
from bascule.wire.http1 cimport Parsed
from bascule.engine.exchange cimport Exchange
from bascule.engine.parties cimport Core

# The fields of one response head, as libnghttp2 takes them: pointers to bytes that live until they are submitted.
cdef class ResponseFields:
    cdef nghttp2_nv* nv
    cdef int n
    cdef int cap
    cdef long long size             # bytes of names and values
    cdef char status[4]
    cdef bytes tries
    cdef char digits[24]
    cdef int begin(self, int status)
    cdef int add(self, const char* name, Py_ssize_t n, const char* value, Py_ssize_t k)
    # Those of a head that go on, see forward.put_fields. 1: one of them is Date.
    cdef int add_head(self, const char* p, const Parsed* m, int skip)
    cdef int add_pairs(self, list pairs)          # [(name, value)], bytes
    cdef int add_own(self, Core core, bint dated, bytes alt_svc)   # a header line or None
    cdef int add_tries(self, Exchange x)
    cdef int add_length(self, long long length)
