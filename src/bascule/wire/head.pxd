from bascule.wire.http1 cimport Parsed, Limits

# One message head: its own copy of the bytes and their parsed fields. Reusable: copy() and parse() replace its content.
cdef class Head:
    cdef char* data
    cdef int size           # bytes held
    cdef int cap
    cdef Parsed m
    # Bytes only; m is filled by the parser, or copied by the caller.
    cdef int copy(self, const char* p, Py_ssize_t n) except -1
    # Next field that is forwarded (neither FIELD_DROP nor FIELD_REMOVED) of this lower-case name, from index start; -1.
    cdef int find(self, const char* lower, int n, int start) noexcept
    # The same with hop-by-hop fields: whatever was received and not removed by a plugin.
    cdef int find_any(self, const char* lower, int n, int start) noexcept
    cdef int find_name(self, str name, int start) except -2         # find_any for a str in any case; -1 when not ASCII
    cdef str name(self, int i)                                       # as received
    cdef str value(self, int i)                                      # latin-1
    cdef int search(self, const char* lower, int n, int start, int without) noexcept
    cdef int search_exact(self, const char* lower, int n, int start) noexcept
    cdef int find_long(self, str name, int start) except -2
