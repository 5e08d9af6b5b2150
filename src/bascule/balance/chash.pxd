from libc.stdint cimport int32_t, uint32_t, uint64_t
from bascule.balance.picker cimport Picker

cdef class ConsistentHash(Picker):
    cdef uint32_t* hashes           # the ring's points, ascending
    cdef int32_t* owners            # the place that each belongs to
    cdef readonly Py_ssize_t points
    cdef bint left(self, object tried)
