cdef class Router:
    cdef public dict params         # captures of the last find (":name", "*name"), or None
    cdef public object pattern      # path pattern of the last find (str), e.g. "/api/*"
    cdef public object host_pattern # host pattern of the last find (str) or None
    # host without port, any case; path normalised, without query; method = M_* id, method_name only used for M_OTHER;
    # vars = object with .var(name: str) -> str | int | float | list | None, called only for candidates that have conditions.
    cdef object find(self, const char* host, Py_ssize_t host_len, const char* path, Py_ssize_t path_len, int method, object vars)
