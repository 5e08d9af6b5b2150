from bascule.engine.exchange cimport Exchange
from bascule.wire.http1 cimport Parsed

# Decides body_mode. -> 1: go on, 0: answered otherwise
cdef int on_response_head(Exchange x, const char* p, Parsed* m)
cdef int run_header_filters(Exchange x)
cdef int on_response_data(Exchange x, const char* p, Py_ssize_t n, bint last)
cdef int filter_body(Exchange x, bytes chunk, bint last)
cdef int response_end(Exchange x)
cdef bytes last_chunk(list trailers)   # the end of a chunked body
