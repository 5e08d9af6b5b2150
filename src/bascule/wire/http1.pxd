# Parsed head of one HTTP/1.1 message: offsets into the bytes that were parsed.
cdef extern from "arpa/inet.h" nogil:
    int AF_INET6
    int inet_pton(int family, const char* text, void* address)

cdef enum:
    MAX_FIELDS = 128

cdef enum:
    # Field.flags
    FIELD_DROP = 1          # not forwarded: hop-by-hop or named by Connection
    FIELD_FORWARDED = 2     # X-Forwarded-*, X-Real-IP, Forwarded: the gateway writes its own
    FIELD_REMOVED = 4       # removed by a plugin: neither forwarded nor found

cdef enum:
    # Parsed.method; the router's bit for a method is 1 << id
    M_OTHER = 0
    M_GET = 1
    M_HEAD = 2
    M_POST = 3
    M_PUT = 4
    M_DELETE = 5
    M_PATCH = 6
    M_OPTIONS = 7
    M_CONNECT = 8
    M_TRACE = 9
    M_PURGE = 10

cdef struct Field:
    int name_off
    int name_len
    int value_off
    int value_len           # without surrounding blanks
    int end                 # offset after the line's CRLF
    int flags

cdef struct Limits:
    int max_line            # bytes of request line (414) or status line (502)
    int max_head            # bytes of the whole head (431 / 502)
    int max_fields          # <= MAX_FIELDS (431 / 502)

cdef struct Parsed:
    int minor               # HTTP/1.minor; 2 or 3: it came by HTTP/2 or 3
    int method              # M_*
    int method_len
    int status              # responses
    int target_off          # request target as received
    int target_len
    int path_off            # path inside the target (absolute-form: after the authority); path_len == 0 implies "/"
    int path_len            # without query
    int query_off           # after '?'
    int query_len           # -1: no '?'
    int host_off            # effective authority with port: from absolute-form, else Host
    int host_len            # -1: none (HTTP/1.0)
    int first_line_end      # offset of the first header line
    int head_len            # whole head with the blank line
    int nfields
    int chunked             # final (and only) transfer coding is chunked
    int close               # the connection closes after this message
    int keep_alive          # an explicit Connection: keep-alive
    int upgrade             # Connection names upgrade and an Upgrade field exists
    int expect_continue
    int te_trailers         # TE names trailers
    int xff                 # index of the (last) X-Forwarded-For, -1
    int debug               # index of the (last) X-Bascule-Debug, -1
    int reason_off          # responses
    int reason_len
    long long content_length    # -1: none
    Field fields[MAX_FIELDS]

cdef Py_ssize_t parse_request(const char* p, Py_ssize_t n, Parsed* m, const Limits* limits) noexcept nogil
cdef Py_ssize_t parse_response(const char* p, Py_ssize_t n, Parsed* m, const Limits* limits) noexcept nogil
# Bytes of an empty line (CRLF) before a request line, 0 or 2: RFC 9112 2.2 has servers ignore one. The caller skips it,
# once per request.
cdef int leading_blank(const char* p, Py_ssize_t n) noexcept nogil
# p is a field name (a token) of n bytes, lower is of letters, digits and '-'.
cdef bint name_is(const char* p, const char* lower, int n) noexcept nogil
# ASCII case-insensitive comparison of n bytes.
cdef bint same_text(const char* a, const char* b, int n) noexcept nogil
# A malloc'd copy (PyMem_RawFree) of exactly these bytes, for tests: a read past its end is visible to AddressSanitizer.
cdef char* exact_copy(bytes data) except NULL
