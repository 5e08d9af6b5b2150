# nginx-like normalisation of a request path, for matching: percent-decoding, slash merging, dot segments.
# Returns the length written to out (cap >= n + 1), -1: not normalisable (bad escape, NUL, above the root).
# flags: TARGET_KEEP_ENCODED_SLASH leaves %2F as it stands; TARGET_SERVLET strips ;params of each segment.
cdef enum:
    TARGET_KEEP_ENCODED_SLASH = 1
    TARGET_SERVLET = 2

cdef bint path_is_plain(const char* p, int n) noexcept nogil     # nothing to normalise: use p itself
cdef int normalise_path(const char* p, int n, char* out, int flags) noexcept nogil
