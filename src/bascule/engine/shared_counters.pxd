# The C side of shared_counters.py: 128-bit compare-and-swap, the mapping and the clock (pure-Python mode can't declare them).
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <sys/mman.h>
    #include <time.h>

    /* If p[0], p[1] are lo[0], hi[0]: store new_lo, new_hi and return 1; else put what is there into lo, hi and return 0.
       Full barrier. p is aligned to 16 bytes. Inline assembly, because gcc only inlines the builtin with -mcx16. */
    static inline int bsc_cas16(uint64_t *p, uint64_t *lo, uint64_t *hi, uint64_t new_lo, uint64_t new_hi) {
    #if defined(__x86_64__)
        unsigned char done;
        __asm__ __volatile__("lock cmpxchg16b %1"
                             : "=@ccz"(done), "+m"(*(unsigned __int128 *)p), "+a"(*lo), "+d"(*hi)
                             : "b"(new_lo), "c"(new_hi)
                             : "memory");
        return done;
    #else
        unsigned __int128 old = ((unsigned __int128)*hi << 64) | *lo, new_ = ((unsigned __int128)new_hi << 64) | new_lo, seen;
        seen = __sync_val_compare_and_swap((unsigned __int128 *)p, old, new_);
        *lo = (uint64_t)seen;
        *hi = (uint64_t)(seen >> 64);
        return seen == old;
    #endif
    }
    static inline uint64_t bsc_load(uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline uint64_t bsc_add(uint64_t *p, uint64_t n) { return __atomic_add_fetch(p, n, __ATOMIC_RELAXED); }
    static inline uint64_t bsc_now_ms(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    }
    static inline void *bsc_map(int fd, uint64_t n) {
        void *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return p == MAP_FAILED ? 0 : p;
    }
    static inline void bsc_unmap(void *p, uint64_t n) { munmap(p, n); }
    static inline uint64_t bsc_word(const char *p) { uint64_t w; __builtin_memcpy(&w, p, 8); return w; }
    """
    bint bsc_cas16(uint64_t* p, uint64_t* lo, uint64_t* hi, uint64_t new_lo, uint64_t new_hi) noexcept nogil
    uint64_t bsc_load(uint64_t* p) noexcept nogil
    uint64_t bsc_add(uint64_t* p, uint64_t n) noexcept nogil
    uint64_t bsc_now_ms() noexcept nogil
    void* bsc_map(int fd, uint64_t n) noexcept nogil
    void bsc_unmap(void* p, uint64_t n) noexcept nogil
    uint64_t bsc_word(const char* p) noexcept nogil

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef void sip_round(uint64_t* v) noexcept nogil
cdef void siphash(const char* data, Py_ssize_t size, uint64_t k0, uint64_t k1, uint64_t* first, uint64_t* second) noexcept nogil

cdef class SharedCounters:
    cdef readonly int fd
    cdef uint64_t* table            # magic, number of buckets, secret (2 words), evictions; the buckets begin at word 32
    cdef uint64_t size              # of the mapping, bytes
    cdef uint64_t mask              # number of buckets - 1
    cdef uint64_t k0
    cdef uint64_t k1
    cdef bint owns_fd

    cdef uint64_t* place(self, uint64_t* mark, str key) except NULL
    cdef uint64_t* slot(self, uint64_t* bucket, uint64_t mark, uint64_t now) noexcept nogil
    cdef long long change(self, uint64_t* bucket, uint64_t mark, long long amount, uint64_t now, uint64_t length, bint lease, uint64_t* end) noexcept nogil
    cpdef tuple incr(self, str key, long long amount, double window_s)
    cpdef object add(self, str key, long long delta)
    cpdef object get(self, str key)

cdef uint64_t* find(uint64_t* bucket, uint64_t mark) noexcept nogil
cdef void finish(uint64_t* bucket, uint64_t lo, uint64_t hi) noexcept nogil
