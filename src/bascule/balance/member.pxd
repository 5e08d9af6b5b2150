from libc.stdint cimport int32_t, uint64_t

# A balancer that must hear of it when a load changes.
cdef class Watcher:
    cdef int load_changed(self, int place) noexcept

cdef enum:
    HELD = 1 << 30                  # in a cell: the process measures this node

# Measurements of one node, shared by the balancers of successive configurations and, for those that ask for it, by all
# processes: then the pointers lead into shared memory, where each process has a cell of its own.
cdef class Load:
    cdef object __weakref__
    cdef int32_t alone
    cdef int32_t one
    cdef uint64_t private
    cdef int32_t* own               # requests under way of this process
    cdef int32_t* cells             # of each process
    cdef int32_t* width             # how many cells there are
    cdef uint64_t* response         # moving average of the response time and when it was touched, see pack()
    cdef readonly object table      # keeps what the pointers lead to; None: nothing is shared
    cdef Watcher watcher            # the newest balancer that must hear of each change
    cdef int place                  # in it
    cdef int mine(self) noexcept            # requests under way of this process
    cdef void began(self) noexcept
    cdef void ended(self) noexcept
    cdef long long total(self) noexcept     # requests under way of all processes

cdef class Member:
    cdef readonly int index
    cdef readonly double weight
    cdef readonly str name
    cdef readonly Load load
