# 64- and 128-bit compare-and-swap, a shared mapping and the clock, for shared_counters.py and load_table.py:
# pure-Python mode cannot declare C.
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <sys/mman.h>
    #include <time.h>

    /* If p[0], p[1] are lo[0], hi[0]: store new_lo, new_hi and return 1; else put what is there into lo,
        hi and return 0.
       Full barrier. p is aligned to 16 bytes. Inline assembly, because gcc only inlines the builtin with -mcx16. */
    static inline int cas16(uint64_t *p, uint64_t *lo, uint64_t *hi, uint64_t new_lo, uint64_t new_hi) {
    #if defined(__x86_64__)
        unsigned char done;
        __asm__ __volatile__("lock cmpxchg16b %1"
                             : "=@ccz"(done), "+m"(*(unsigned __int128 *)p), "+a"(*lo), "+d"(*hi)
                             : "b"(new_lo), "c"(new_hi)
                             : "memory");
        return done;
    #else
        unsigned __int128 old = ((unsigned __int128)*hi << 64) | *lo,
            new_ = ((unsigned __int128)new_hi << 64) | new_lo, seen;
        seen = __sync_val_compare_and_swap((unsigned __int128 *)p, old, new_);
        *lo = (uint64_t)seen;
        *hi = (uint64_t)(seen >> 64);
        return seen == old;
    #endif
    }
    static inline uint64_t load_word(uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline uint64_t add_word(uint64_t *p, uint64_t n) { return __atomic_add_fetch(p, n, __ATOMIC_RELAXED); }
    /* If *p is `old`: store `new_` and return 1, else 0. Full barrier. */
    static inline int cas_word(uint64_t *p, uint64_t old, uint64_t new_) {
        return __atomic_compare_exchange_n(p, &old, new_, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    static inline void full_barrier(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    static inline uint64_t now_ms(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    }
    static inline void *map_shared(int fd, uint64_t n) {
        void *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return p == MAP_FAILED ? 0 : p;
    }
    static inline void unmap_shared(void *p, uint64_t n) { munmap(p, n); }
    static inline uint64_t read_word(const char *p) { uint64_t w; __builtin_memcpy(&w, p, 8); return w; }
    """
    bint cas16(uint64_t* p, uint64_t* lo, uint64_t* hi, uint64_t new_lo, uint64_t new_hi) noexcept nogil
    uint64_t load_word(uint64_t* p) noexcept nogil
    uint64_t add_word(uint64_t* p, uint64_t n) noexcept nogil
    bint cas_word(uint64_t* p, uint64_t old, uint64_t new_) noexcept nogil
    void full_barrier() noexcept nogil
    uint64_t now_ms() noexcept nogil
    void* map_shared(int fd, uint64_t n) noexcept nogil
    void unmap_shared(void* p, uint64_t n) noexcept nogil
    uint64_t read_word(const char* p) noexcept nogil

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
