from libc.stdint cimport int32_t, uint32_t
from bascule.net.nghttp2 cimport nghttp2_data_provider, nghttp2_session
from bascule.net.stream cimport Stream
from bascule.wire.http1 cimport Parsed
from bascule.wire.http2_request cimport RequestFields
from bascule.engine.exchange cimport Core, Downstream, Exchange

cdef enum:
    # Http2Connection.state
    S_OPEN = 0
    S_NOTICE = 1            # GOAWAY was said; streams that are on their way are still taken
    S_LAST = 2              # no further stream is taken
    S_CLOSING = 3           # closes once what was written has gone out
    S_LINGER = 4            # reads and drops what comes, so that the client gets to read our GOAWAY

cdef enum:
    # Http2Connection.timer: what it runs for
    T_NONE = 0
    T_IDLE = 1
    T_FIELDS = 2            # a header block that doesn't come to its end
    T_OUTPUT = 3            # the client doesn't read
    T_NOTICE = 4
    T_LINGER = 5

# Allows `burst` at once and so many a second after that.
cdef struct Allowance:
    double left
    double burst
    double per_s
    long long at            # us, when `left` was reckoned

cdef class Http2Connection(Stream):
    cdef Core core
    cdef Downstream peer            # who the client is
    cdef nghttp2_session* session
    cdef dict streams               # stream id -> Http2Stream
    cdef RequestFields fields
    cdef Http2Stream opening        # whose header block comes in
    cdef list trailers              # of that block, None: it is a request's
    cdef long long trailer_bytes
    cdef list dropped               # streams that the session may still point to
    cdef list writers               # streams whose output may have moved since the last flush
    cdef int state
    cdef int timer
    cdef bint inside                # libnghttp2 is at work: neither call nor delete it
    cdef bint queued                # a flush is asked for
    cdef bint doomed                # an attack: cancel all there is
    cdef long served
    cdef long long sent_mark
    cdef long long left             # bytes still to be dropped while lingering
    cdef Allowance noise            # frames that bring nothing
    cdef Allowance windows
    cdef Allowance resets
    cdef int start(self)
    cdef int pump(self)
    cdef int take(self, const char* p, Py_ssize_t n)
    cdef int schedule(self)
    cdef int put_out(self)
    cdef int fill_out(self)
    cdef int settle(self)
    cdef int gone(self)
    cdef int end_streams(self)
    cdef void free_session(self) noexcept
    cdef int wind_up(self)
    cdef int last_call(self)
    cdef int linger(self)
    cdef int calm(self, str reason)
    cdef int charge(self, Allowance* a, double cost, str reason)
    cdef int open_stream(self, int32_t id)
    cdef int take_field(self, const char* name, Py_ssize_t n, const char* value, Py_ssize_t k)
    cdef int take_trailer(self, const char* name, Py_ssize_t n, const char* value, Py_ssize_t k)
    cdef int begin_request(self, Http2Stream s, bint last)
    cdef int stream_over(self, int32_t id, uint32_t code)

cdef class Http2Stream(Downstream):
    cdef Http2Connection conn
    cdef Exchange x
    cdef int32_t id
    cdef bint closed                # libnghttp2 knows it no more
    cdef bint listed                # in conn.writers
    # the request
    cdef bint request_done          # END_STREAM has come
    cdef bint body_over             # the exchange was told the end of the body
    cdef bint delivering
    cdef long long body_left        # of an announced length, else -1
    cdef long long owed             # bytes that the stream's window was not given back yet
    # the response
    cdef bint started               # its head is submitted
    cdef bint ended                 # all of it stands in wbuf
    cdef bint deferred              # libnghttp2 was told that there is nothing
    cdef bint said_end              # END_STREAM has gone out
    cdef list trailers_out
    cdef int submit(self, bint has_body)
    cdef int queue(self, const char* p, Py_ssize_t n)
    cdef int list_writer(self)
    cdef int moved(self)
    cdef int body_came(self, const char* p, Py_ssize_t n)
    cdef int hand_on(self, const char* p, Py_ssize_t n)
    cdef int body_ended(self)
    cdef int deliver(self)
    cdef int pay_back(self)
    cdef int reset(self, uint32_t code)
    cdef int drop(self)

# The client's connection speaks HTTP/2 from here on: p are its first n bytes, the preface included.
cdef Http2Connection make_http2(Core core, Downstream client, const char* p, Py_ssize_t n)
