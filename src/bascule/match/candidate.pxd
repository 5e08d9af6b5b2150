from bascule.match.radix cimport Bucket, Radix

# A route with its conditions, ready to be asked.
cdef class Entry:
    cdef readonly object key
    cdef readonly object value
    cdef readonly object match          # RouteMatch
    cdef readonly int priority
    cdef public Py_ssize_t order        # of the first add(): breaks ties of priority
    cdef object other_methods           # frozenset, or None when every method will do
    cdef tuple hosts                    # ((key, prefix, host pattern), ...) where hosts are a filter, else None
    cdef object addresses               # AddressSet or None
    cdef object test                    # compiled vars or None
    cdef public tuple candidates
    cdef int set_value(self, object value) except -1

# One pattern of an entry in a tree.
cdef class Candidate:
    cdef unsigned int methods           # bit 1 << M_*; bit 0: a method that has no id, see Entry.other_methods
    cdef bint conditional               # there is more to ask than the method: see the entry
    cdef readonly Entry entry
    cdef object value                   # the entry's, so that a find doesn't touch the entry
    cdef readonly str pattern
    cdef readonly object host_pattern   # str or None
    cdef Radix tree                     # where it stands; None before that
    cdef tuple captures                 # (segment number, name, whether the rest, ...) or None

cdef Bucket* bucket_add(Bucket* bucket, Candidate candidate) except NULL
cdef Bucket* bucket_discard(Bucket* bucket, Candidate candidate) except? NULL
cdef object host_fits(tuple hosts, const char* host, Py_ssize_t n)
cdef dict captured(tuple captures, const char* path, Py_ssize_t n)
