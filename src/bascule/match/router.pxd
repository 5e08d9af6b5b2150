from bascule.match.candidate cimport Candidate, Entry
from bascule.match.radix cimport Bucket, Node, Radix

# What one find() looks for.
cdef struct Probe:
    const char* host        # from its last byte to its first, lower-case
    Py_ssize_t host_len
    const char* path
    Py_ssize_t path_len
    unsigned int method     # 1 << M_*

cdef class Router:
    cdef public dict params         # captures of the last find (":name", "*name"), or None
    cdef public object pattern      # path pattern of the last find (str), e.g. "/api/*"
    cdef public object host_pattern  # host pattern of the last find (str) or None
    # host without port, any case; path normalised, without query; method = M_* id, method_name only used for M_OTHER;
    # vars = object with .var(name: str) -> str | int | float | list | None, called only for candidates that have
    # conditions.
    cdef object find(
        self, const char* host, Py_ssize_t host_len, const char* path, Py_ssize_t path_len, int method, object vars
    )

    cdef readonly str mode
    cdef bint hosts_in_tree
    cdef bint parameters
    cdef bint delete_uri_tail_slash
    cdef dict entries               # key -> Entry: what the trees' borrowed candidates live by
    cdef dict hosts                 # HostPattern -> Radix of the paths of that host
    cdef Radix host_tree            # reversed hosts -> the same Radix objects, borrowed
    cdef Radix any_host             # paths of routes without hosts
    cdef Py_ssize_t added           # entries ever added
    cdef int searching              # finds under way that run conditions: trees must not change under them
    cdef list trace                 # explain() collects candidates here; None otherwise
    cdef Candidate search(self, Probe* probe, object vars)
    cdef Candidate search_paths(self, Radix tree, Probe* probe, object vars)
    cdef Candidate search_branches(self, Node* node, Py_ssize_t at, Probe* probe, object vars)
    cdef Candidate choose(self, Bucket* bucket, Probe* probe, object vars)
    cdef bint conditions_hold(self, Entry entry, Probe* probe, object vars) except -1
    cdef bint variables_fit(self, Entry entry, Probe* probe, object vars) except -1
    cdef int insert(self, Candidate candidate) except -1
    cdef int withdraw(self, Candidate candidate) except -1
    cdef Radix tree_of(self, Candidate candidate)
    cdef int check_idle(self) except -1
    cdef int search_other_hosts(self, bytes path) except -1
    cdef Py_ssize_t path_end(self, const char* path, Py_ssize_t n) noexcept
