from bascule.balance.member cimport Member, Watcher

# What every balancer can do; places are the members' positions in the balancer.
cdef class Picker(Watcher):
    cdef readonly list members
    cdef int count                  # members
    cdef int usable                 # of them not passed over
    cdef int* index_of              # by place
    cdef int* place_of              # by index; -1: not a member
    cdef int top                    # first index that place_of doesn't know
    cdef bint* over                 # by place: passed over
    cdef double* weight             # by place, as it is at present
    cdef readonly bint counts       # wants to hear on_start and on_finish
    cdef int place(self, int index) noexcept
    cdef Member member(self, int place)
    cpdef int pick(self, object key, object tried) except? -2
    cpdef int on_start(self, int index) except -1
    cpdef int on_finish(self, int index, double seconds, bint ok) except -1
    cpdef int pass_over(self, object nodes) except -1
    cpdef int weigh(self, int index, double factor) except -1
    cdef int changed(self) except -1            # `over` has: for the balancers to act upon

cdef class Draw:
    cdef unsigned long long state
    cdef double next(self) noexcept             # in [0, 1)
    cdef int below(self, int n) noexcept        # in [0, n)

cdef class RandomPair(Picker):
    cdef Draw draw
    cdef int* eligible              # places that aren't passed over, `usable` of them
    cdef int drawn(self)
    cdef bint is_worse(self, int one, int other)
    cdef int some(self, object tried, int but)
