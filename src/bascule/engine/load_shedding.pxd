from bascule.net.poller cimport Handle
from bascule.engine.parties cimport Core

cdef enum:
    # what of a worker's requests is shed first
    SHED_FIRST = 0
    SHED_NORMAL = 1
    SHED_LAST = 2
    SHED_NEVER = 3

cdef class LoadShedder(Handle):
    cdef Core core
    cdef long long target_us        # the lag that is borne
    cdef long long sent_at          # us, when the probe on its way was sent; 0: none is
    cdef long long least            # lag of the probes since the last control, the smallest
    cdef long long before           # the same at the last control
    cdef long long due              # us, of the next control
    cdef long long calm_at          # us, of the last control that found the lag borne
    cdef int streak                 # controls in a row that found too much
    cdef double share               # of all requests that is to be shed
    cdef double chance[3]           # the same by class
    cdef long came[3]               # requests since the last control, while shedding
    cdef long shed[3]
    cdef unsigned long long seed
    cdef object answer_headers
    cdef object lag_gauge
    cdef object share_gauge
    cdef object counters            # of shed requests, by class
    cdef bint drop(self, int kind) noexcept
    cdef object answer(self)
    cdef int probe(self)
    cdef int control(self, long long now)
    cdef void spread(self) noexcept

cdef int shed_class(object labels, object service_labels)
