# The fields of one HTTP/2 request, written as an HTTP/1.1 head, which the parser of HTTP/1.1 then judges.
cdef enum:
    FIELDS_MALFORMED = -1   # what RFC 9113 8.1.1 calls malformed
    FIELDS_BOMB = -2        # far beyond any limit

cdef class RequestFields:
    cdef char* head         # what there is of it
    cdef int size
    cdef int cap
    cdef char* text         # the pseudo-header fields, one behind the other
    cdef int text_len
    cdef int text_cap
    cdef int at[5]          # offset in text of :method, :path, :authority, :scheme, :protocol; -1: not there
    cdef int length[5]
    cdef bint extended      # :protocol may come (RFC 8441): the CONNECT becomes an upgrade
    cdef char key[24]       # its Sec-WebSocket-Key
    cdef char* cookies      # cookie fields joined, RFC 9113 8.2.3
    cdef int cookies_len
    cdef int cookies_cap
    cdef long long listed   # RFC 9113 6.5.2: size of the header list so far
    cdef int max_line
    cdef int max_head
    cdef int verdict        # 0, or the status to refuse it with
    cdef bint lined         # the request line stands in head
    cdef bint has_length
    cdef bint upgrades(self) noexcept     # the request asks for a WebSocket
    cdef void begin(self, int max_line, int max_head) noexcept
    # 0, or one of FIELDS_*
    cdef int field(self, const char* name, Py_ssize_t n, const char* value, Py_ssize_t k) noexcept
    # The head is whole. Its size; or the negated status to refuse the request with.
    cdef int end(self, bint has_body) noexcept
    cdef int pseudo(self, const char* name, Py_ssize_t n, const char* value, Py_ssize_t k) noexcept
    cdef int put(self, const char* p, Py_ssize_t n) noexcept
    cdef int put_line(self) noexcept
    cdef int put_cookie(self, const char* value, Py_ssize_t k) noexcept
