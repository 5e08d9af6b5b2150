from bascule.balance.picker cimport Draw, Picker

cdef class PowerOfTwo(Picker):
    cdef Draw draw
    cdef int* eligible              # places that aren't passed over, `usable` of them
    cdef double* sums               # of their weights, up to and with each
    cdef int some(self, object tried, int but)
    cdef double score(self, int place)
