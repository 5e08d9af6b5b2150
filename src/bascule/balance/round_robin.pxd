from bascule.balance.picker cimport Picker
from bascule.balance.tournament cimport Tournament

cdef class RoundRobin(Picker):
    cdef int* turns                 # places, one period; NULL: by deadlines
    cdef readonly int period
    cdef int cursor
    cdef double start               # where in the period it begins, [0, 1)
    cdef Tournament due             # deadlines by place; None: by turns
    cdef int changed_weights        # so many are not as configured at present
    cdef double now                 # the deadline that was picked last
    cdef double first_due(self, int place) noexcept
    cdef bint take_turns(self)
    cdef int take_deadlines(self)
