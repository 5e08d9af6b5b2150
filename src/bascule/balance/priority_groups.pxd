from bascule.balance.picker cimport Picker

cdef class PriorityGroups(Picker):
    cdef list groups                # of Picker, highest priority first
