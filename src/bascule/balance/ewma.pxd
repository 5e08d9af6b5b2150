from libc.stdint cimport uint64_t
from bascule.balance.picker cimport RandomPair

cdef class Ewma(RandomPair):
    cdef object clock
    cdef double score(self, int place, double now)
