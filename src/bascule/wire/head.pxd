from bascule.wire.http1 cimport Parsed, Limits

# One message head: its own copy of the bytes and their parsed fields. Reusable: load() replaces what was there.
cdef class Head:
    cdef char* data
    cdef int size           # bytes held
    cdef int cap
    cdef Parsed m
    cdef int copy(self, const char* p, Py_ssize_t n) except -1      # bytes only; m is filled by the parser, or copied by the caller
    cdef int find(self, const char* lower, int n, int start) noexcept   # next field with this lower-case name and no FIELD_DROP, from index start; -1
    cdef int find_name(self, str name, int start) except -2         # the same for a str in any case (ASCII; -1 when not ASCII)
    cdef str value(self, int i)                                      # latin-1
