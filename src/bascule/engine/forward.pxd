from bascule.wire.http1 cimport Field, Parsed
from bascule.engine.exchange cimport Exchange
from bascule.engine.parties cimport Core

cdef int build_request(Core core, Exchange x)                 # upstream request head into core.out; its length
cdef char* put_number(char* o, long long value) noexcept nogil
cdef bint skipped(const char* p, const Field* f, int skip) noexcept nogil   # a field line that doesn't go on
cdef char* put_fields(char* o, const char* p, const Parsed* m, int skip) noexcept nogil
cdef char* put_added(char* o, list added)
cdef int size_of_added(list added)

cdef enum:
    # put_fields: fields that the caller writes itself
    SKIP_HOST = 1
    SKIP_LENGTH = 2
    SKIP_EXPECT = 4
    SKIP_SERVER = 8

cdef enum:
    # fields that the gateway writes unless a plugin has
    OWN_FOR = 1
    OWN_REAL_IP = 2
    OWN_PROTO = 4
    OWN_HOST = 8
    OWN_PORT = 16
