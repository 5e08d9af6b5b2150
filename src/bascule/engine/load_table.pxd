from libc.stdint cimport int32_t, uint64_t
from bascule.balance.member cimport Load

cdef class LoadTable:
    cdef readonly int fd
    cdef readonly int rows
    cdef readonly int columns
    cdef readonly int column        # of this process; -1: none
    cdef char* memory
    cdef uint64_t size
    cdef int32_t* width             # columns that were ever in use, the first ones
    cdef uint64_t* marks            # by row: whose it is
    cdef uint64_t* responses        # by row: moving average of the response time
    cdef int32_t* cells             # row by row, one for each column
    cdef bint owns_fd
    cdef bint is_busy(self, uint64_t mark) noexcept
    cdef bint held(self, int row, int but) noexcept
    cdef bint put(self, uint64_t mark, Load load)
    cdef int claim(self, uint64_t mark)
    cdef bint twice(self, uint64_t mark, int row) noexcept
    cdef int clear(self, int column) noexcept
