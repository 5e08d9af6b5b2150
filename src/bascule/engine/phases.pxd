from bascule.engine.exchange cimport Exchange
from bascule.engine.plan cimport Step

cdef int run_phases(Exchange x)
cdef object settle(Step step, object result)
cdef object hook_failed(Exchange x, str plugin, object error)
cdef bint lets_pass(Exchange x, Step step)
