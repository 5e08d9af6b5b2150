from bascule.balance.picker cimport Picker

cdef class Zones(Picker):
    cdef Picker near                # of the own zone's members
    cdef Picker far                 # of all others
    cdef bint* is_near              # by place
    cdef bint by_key                # a key decides where it goes, and goes on deciding so
    cdef double threshold           # of a side's weight: with less usable, it can't take all requests
    cdef double near_weight         # as configured
    cdef double far_weight
    cdef readonly double share      # of the requests, that stay in the zone
    cdef double owed                # to the zone: from 1 on the next request is its
    cdef Picker side(self, int index)
    cdef bint stays(self, object key)
    cdef double capacity(self, double usable, double weight) noexcept
