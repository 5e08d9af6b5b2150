from libc.stdint cimport uint64_t
from bascule.balance.picker cimport Draw, Picker

cdef class Ewma(Picker):
    cdef Draw draw
    cdef object clock
    cdef int* eligible              # places that aren't passed over, `usable` of them
    cdef double score(self, int place, double now)
    cdef int some(self, object tried, int but)
