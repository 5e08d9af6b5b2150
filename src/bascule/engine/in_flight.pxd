from libc.stdint cimport uint64_t
from bascule.balance.member cimport Load
from bascule.engine.load_table cimport LoadTable

cdef class InFlight(LoadTable):
    cdef uint64_t k0                # of the hash that turns keys into marks
    cdef uint64_t k1
    cdef dict loads                 # by key: those of this process that are not 0
    cdef readonly long alone        # requests that were counted by this process alone
    cdef long long add(self, Load load, long long limit) noexcept
    cdef uint64_t mark_of(self, str key)
