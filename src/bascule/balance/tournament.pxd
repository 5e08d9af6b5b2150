# A tree of winners over leaves, each with a key: the least key wins, among equals the least turn.
cdef class Tournament:
    cdef int size                   # leaves, a power of two
    cdef double* key                # by leaf; INFINITY: takes no part
    cdef long long* turn            # by leaf
    cdef int* winner                # a heap-shaped tree of leaves: [1] is the best of all
    cdef int best(self) noexcept                                    # leaf; -1: none takes part
    cdef int best_but(self, int* index_of, object tried)
    cdef void put(self, int leaf, double key, long long turn) noexcept
    cdef void set(self, int leaf, double key) noexcept
    cdef void play(self, int at) noexcept
    cdef void play_all(self) noexcept
