from bascule.balance.picker cimport Picker

cdef class Zones(Picker):
    cdef object build               # (members) -> Picker
    cdef list near                  # members of the own zone
    cdef list far
    cdef double threshold           # of the own zone's weight
    cdef double near_weight
    cdef object passed              # what was passed over last
    cdef dict factors               # by index
    cdef readonly bint spills       # nodes of other zones serve, too
    cdef list pickers
    cdef int arrange(self)
