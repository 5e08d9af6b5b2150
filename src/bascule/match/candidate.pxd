from bascule.match.radix cimport Bucket

# A route with its conditions, ready to be asked.
cdef class Entry:
    cdef readonly object key
    cdef public object value
    cdef readonly object match          # RouteMatch
    cdef readonly int priority
    cdef public Py_ssize_t order        # of the first add(): breaks ties of priority
    cdef unsigned int methods           # bit 1 << M_*; bit 0: a method that has no id, see other_methods
    cdef object other_methods           # frozenset, or None when every method will do
    cdef tuple hosts                    # ((key, prefix, host pattern), ...) where hosts are a filter, else None
    cdef object addresses               # AddressSet or None
    cdef object test                    # compiled vars or None
    cdef public list candidates

# One pattern of an entry in a tree.
cdef class Candidate:
    cdef readonly Entry entry
    cdef readonly str pattern
    cdef readonly object host_pattern   # str or None
    cdef readonly object host           # HostPattern of the tree it stands in, None: the tree of any host
    cdef tuple parts
    cdef bint prefix
    cdef tuple captures                 # see pattern.capture, or None

cdef Bucket* bucket_add(Bucket* bucket, Candidate candidate) except NULL
cdef Bucket* bucket_discard(Bucket* bucket, Candidate candidate) except? NULL
cdef object host_fits(tuple hosts, const char* host, Py_ssize_t n)
