# WebSocket frames (RFC 6455); resumable at any byte.
cdef enum:
    WS_CONTINUATION = 0
    WS_TEXT = 1
    WS_BINARY = 2
    WS_CLOSE = 8
    WS_PING = 9
    WS_PONG = 10

cdef enum:
    # Frames.event
    WS_MORE = 0             # the input is used up within a head
    WS_HEAD = 1             # a head is whole; with left == 0 so is the frame
    WS_DATA = 2             # a run of payload; with left == 0 the frame is over

cdef enum:
    WS_HEAD_MAX = 14

# One direction of a WebSocket.
cdef struct Frames:
    int event
    int error               # close code (RFC 6455, section 7.4.1) when it is malformed
    int in_payload
    int have                # bytes of the head so far
    int need                # bytes that it has at least
    int opcode
    int fin
    int reserved            # the three bits, as 0 to 7
    int masked              # frames of this direction are, since a client sends them
    int extended            # extensions were agreed on: reserved bits are theirs
    int message             # opcode of the message that isn't over yet, 0: none
    long long size          # of the present frame's payload
    long long left
    unsigned char head[WS_HEAD_MAX]
    unsigned char mask[4]

cdef void ws_reset(Frames* s, bint masked, bint extended) noexcept nogil
# Consumes a head, or ONE run of payload. Returns bytes consumed (all of them with WS_MORE), -1 when malformed.
# data_off/data_len: the run inside p.
cdef Py_ssize_t ws_step(
    Frames* s, const char* p, Py_ssize_t n, Py_ssize_t* data_off, Py_ssize_t* data_len
) noexcept nogil
# Masks (or unmasks) n bytes in place, which stand at this offset of their frame's payload.
cdef void ws_mask(char* p, Py_ssize_t n, const unsigned char* mask, long long offset) noexcept nogil
# The head of a frame of n bytes into out (room for WS_HEAD_MAX); mask NULL: none. Its length.
cdef int ws_head(char* out, int opcode, bint fin, long long n, const unsigned char* mask) noexcept nogil
# Goes on with UTF-8; state is 0 at the start, and at the end of a text that is whole. 0; -1: it is none.
cdef int utf8_step(unsigned int* state, const char* p, Py_ssize_t n) noexcept nogil
# What is wrong with a close frame's payload, as a close code; 0: nothing.
cdef int ws_close_fault(const char* p, Py_ssize_t n) noexcept nogil
cdef bint ws_code_allowed(int code) noexcept nogil

# For tests and fuzzing.
cdef class FrameReader:
    cdef Frames s
