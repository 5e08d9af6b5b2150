from libc.stdint cimport int32_t, uint8_t, uint32_t
from bascule.net.nghttp2 cimport nghttp2_data_source, nghttp2_session
from bascule.net.stream cimport Stream
from bascule.engine.exchange cimport Exchange
from bascule.engine.parties cimport Core, Downstream
from bascule.engine.http2_response cimport ResponseFields

# What a stream needs of its connection; engine/http2_connection.py implements it.
cdef class Http2Session(Stream):
    cdef Core core
    cdef nghttp2_session* session
    cdef list writers               # streams whose output may have moved since the last flush
    cdef bint doomed                # an attack: cancel all there is
    cdef int schedule(self)

cdef class Http2Stream(Downstream):
    cdef Http2Session conn
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

# Where the head of a response is put together.
cdef ResponseFields FIELDS

# A callback must not raise: the fault is told, and the connection ends.
cdef int broken(Http2Session conn, object error) noexcept
