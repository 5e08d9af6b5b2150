# Strict scanner of the chunked coding (RFC 9112, section 7.1); resumable at any byte.
cdef enum:
    # Chunk.state; up to CHUNK_DATA: bytes of the size line, after CHUNK_DATA_LF: bytes of the trailer section
    CHUNK_SIZE_START = 0
    CHUNK_SIZE = 1
    CHUNK_EXT_START = 2
    CHUNK_EXT_NAME = 3
    CHUNK_EXT_VALUE_START = 4
    CHUNK_EXT_VALUE = 5
    CHUNK_EXT_QUOTED = 6
    CHUNK_EXT_ESCAPE = 7
    CHUNK_EXT_END = 8
    CHUNK_DONE = 9
    CHUNK_SIZE_LF = 10
    CHUNK_DATA = 11
    CHUNK_DATA_CR = 12
    CHUNK_DATA_LF = 13
    CHUNK_TRAILER_START = 14
    CHUNK_TRAILER_NAME = 15
    CHUNK_TRAILER_VALUE = 16
    CHUNK_TRAILER_LF = 17
    CHUNK_LAST_LF = 18

cdef enum:
    MAX_NAME = 24           # one name byte more than this is longer than any name that is refused in trailers

cdef struct Chunk:
    int state
    int line                # bytes seen of the present size line with extensions, or of the trailer section
    long long left          # data bytes left of the present chunk
    int name_len            # of the present trailer's name, MAX_NAME when longer
    char name[MAX_NAME]     # in lower case

# A field of this lower-case name must not come behind a body.
cdef bint is_forbidden(const char* p, int n) noexcept nogil
cdef void chunk_reset(Chunk* s) noexcept nogil
# Consumes up to and including ONE run of chunk data (or up to the end). Returns bytes consumed (0 only if n == 0 or
# after the end), -1 malformed. data_off/data_len: the run of data inside p (data_len 0: only framing was consumed).
# s.state == CHUNK_DONE after the last CRLF.
cdef Py_ssize_t chunk_step(
    Chunk* s, const char* p, Py_ssize_t n, Py_ssize_t* data_off, Py_ssize_t* data_len
) noexcept nogil
# Consumes everything that belongs to the body, for passing the coding through unchanged. Returns bytes consumed,
# -1 malformed.
cdef Py_ssize_t chunk_scan(Chunk* s, const char* p, Py_ssize_t n) noexcept nogil

# Bytes consumed of the trailer section: the fields, in the end with the last CRLF.
cdef int trailer_bytes(const Chunk* s) noexcept nogil

# For tests and fuzzing.
cdef class ChunkScanner:
    cdef Chunk s
