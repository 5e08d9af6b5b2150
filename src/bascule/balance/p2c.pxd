from bascule.balance.picker cimport RandomPair

cdef class PowerOfTwo(RandomPair):
    cdef double* sums               # of the weights of the eligible ones, up to and with each
    cdef double score(self, int place)
