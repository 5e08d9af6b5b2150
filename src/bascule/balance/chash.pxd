from libc.stdint cimport uint32_t, uint64_t
from bascule.balance.picker cimport Picker

cdef class ConsistentHash(Picker):
    cdef uint64_t* ring             # its points, ascending: the upper half, the place of its node in the lower one
    cdef int* points_of             # by place: how many it has
    cdef readonly Py_ssize_t points
    cdef bint take_over(self, ConsistentHash before)
    cdef int merge(self, ConsistentHash before, int* now_at, bint* kept, Py_ssize_t left)
    cdef int make(self, bint* but, uint64_t* ring, Py_ssize_t points)
    cdef bint left(self, object tried)
