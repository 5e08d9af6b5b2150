from bascule.balance.picker cimport Picker
from bascule.balance.tournament cimport Tournament

cdef class LeastConn(Picker):
    cdef Tournament tree
    cdef long long turn
    cdef bint superseded            # a newer one hears of changes
    cdef double key_of(self, int place)
