cdef enum:
    BUDGET_SECONDS = 10

# What the engine keeps of an upstream's retry_policy, and its budget in this worker.
cdef class RetryPlan:
    cdef unsigned int causes        # bit per reason of a failure (F_*)
    cdef unsigned int methods       # bit per method (M_*) that may be sent again
    cdef char statuses[600]         # 1: the status is a failure
    cdef bint any_status
    cdef double share               # of the requests that may be retries
    cdef double least               # retries per second that always may be
    cdef long second                # the one that the last entries of these are about
    cdef long firsts[BUDGET_SECONDS]
    cdef long again[BUDGET_SECONDS]
    cdef double base_s
    cdef double most_s
    cdef double jitter
    cdef int per_try_ms             # 0: no limit of its own
    cdef int hedge_ms               # before a further try goes along with the first; 0: none does
    cdef int most_hedges
    cdef unsigned int hedged        # bit per method (M_*) whose requests may be hedged
    cdef double retry_after_s       # the longest Retry-After that is waited for; < 0: it isn't looked at
    cpdef bint takes(self, int reason)
    cpdef bint takes_status(self, int status)
    cpdef bint repeats(self, int method)
    cpdef bint hedges(self, int method)
    cpdef int count(self, long long now)
    cpdef bint grant(self, long long now)
    cpdef double wait(self, int n)
    cdef void turn(self, long long now) noexcept
