cimport cython

cdef enum:
    TICK_US = 50000
    WHEEL = 4096
    BUSY = 8                    # events of one wait: likely more come meanwhile

cdef class Handle:
    cdef int fd                     # -1: closed
    cdef unsigned int generation    # tags its events, so that an event for a closed descriptor's number is told apart
    cdef Poller poller
    cdef long deadline              # tick at which on_timeout is due; 0: none
    cdef long slot                  # tick of the wheel slot that holds it; 0: none
    cdef void* wheel_prev           # borrowed: unlinked before the handle dies
    cdef void* wheel_next
    cdef int on_event(self, unsigned int events)
    cdef int on_timeout(self)
    cdef int on_failure(self)

cdef class Poller:
    cdef int epoll
    cdef list handles               # by descriptor
    cdef unsigned int generation
    cdef readonly long long now     # us, monotonic; of this turn of the loop
    cdef long tick                  # now in units of TICK_US
    cdef void* wheel[WHEEL]
    cdef long armed                 # handles in the wheel
    cdef bint dozing                # there is little to do: no look before the next wait
    cdef list foreign               # (descriptor, events) of asyncio's own descriptors in this turn
    cdef list pending               # handles to be called with events 0 before sleeping again
    cdef list parted                # forgotten in this turn, perhaps within their own methods: they live to its end
    cdef public object on_error     # called with (exception, handle) for what an event handler let through
    cdef int watch(self, Handle h, unsigned int events)
    cdef int forget(self, Handle h) noexcept
    cdef void replace(self, Handle old, Handle h) noexcept  # h goes on with old's descriptor and its events
    cdef void arm(self, Handle h, long ms) noexcept
    cdef void disarm(self, Handle h) noexcept
    cdef void place(self, Handle h, long tick) noexcept
    cdef void unlink(self, Handle h) noexcept
    cdef int later(self, Handle h)
    cdef int turn_wheel(self)
    cdef int run_once(self, int timeout_ms)
    cdef int failed(self, Handle h, object error)

cdef long long now_us() noexcept nogil
