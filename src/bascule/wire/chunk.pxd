# Strict scanner of the chunked coding (RFC 9112, section 7.1); resumable at any byte.
cdef enum:
    CHUNK_DONE = 9

cdef struct Chunk:
    int state
    int line                # bytes seen of the present size line with extensions, or of the trailer section
    long long left          # data bytes left of the present chunk

cdef void chunk_reset(Chunk* s) noexcept nogil
# Consumes up to and including ONE run of chunk data (or up to the end). Returns bytes consumed (0 only if n == 0), -1 malformed.
# data_off/data_len: the run of data inside p (data_len 0: only framing was consumed). s.state == CHUNK_DONE after the last CRLF.
cdef Py_ssize_t chunk_step(Chunk* s, const char* p, Py_ssize_t n, Py_ssize_t* data_off, Py_ssize_t* data_len) noexcept nogil
# Consumes everything that belongs to the body, for passing the coding through unchanged. Returns bytes consumed, -1 malformed.
cdef Py_ssize_t chunk_scan(Chunk* s, const char* p, Py_ssize_t n) noexcept nogil
