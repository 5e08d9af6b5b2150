from libc.stdint cimport uint64_t

cdef void sip_round(uint64_t* v) noexcept nogil
cdef void sip_begin(uint64_t* v, uint64_t k0, uint64_t k1) noexcept nogil
cdef Py_ssize_t sip_words(uint64_t* v, const char* data, Py_ssize_t size) noexcept nogil
cdef void sip_end(
    uint64_t* v, const char* data, Py_ssize_t rest, Py_ssize_t size, uint64_t* first, uint64_t* second
) noexcept nogil
cdef void siphash(
    const char* data, Py_ssize_t size, uint64_t k0, uint64_t k1, uint64_t* first, uint64_t* second
) noexcept nogil

cdef class Window

cdef class SharedCounters:
    cdef readonly int fd
    # magic, number of buckets, secret (2 words), evictions; the buckets begin at word 32
    cdef uint64_t* table
    cdef uint64_t size              # of the mapping, bytes
    cdef uint64_t mask              # number of buckets - 1
    cdef uint64_t k0
    cdef uint64_t k1
    cdef bint owns_fd

    cdef uint64_t* bucket(self, uint64_t* mark, uint64_t second) noexcept nogil
    cdef uint64_t* place(self, uint64_t* mark, str key) except NULL
    cdef uint64_t* slot(self, uint64_t* bucket, uint64_t mark, uint64_t now) noexcept nogil
    cdef long long change(
        self, uint64_t* bucket, uint64_t mark, long long amount, uint64_t now, uint64_t length, bint lease,
        uint64_t* end
    ) noexcept nogil
    cpdef tuple incr(self, str key, long long amount, double window_s)
    cpdef Window window(self, str prefix, double window_s)
    cpdef object add(self, str key, long long delta)
    cpdef object get(self, str key)

cdef class Window:
    cdef SharedCounters counters
    cdef str prefix
    cdef Py_ssize_t prefix_size     # bytes
    cdef uint64_t length            # of the window, ms
    cdef uint64_t v[4]              # SipHash after the prefix's whole words
    cdef char tail[8]               # what is left of it
    cdef int held                   # bytes of tail

    cpdef tuple take(self, str key)

cdef uint64_t in_ms(double window_s) noexcept nogil
cdef uint64_t* find(uint64_t* bucket, uint64_t mark) noexcept nogil
cdef void finish(uint64_t* bucket, uint64_t lo, uint64_t hi) noexcept nogil
