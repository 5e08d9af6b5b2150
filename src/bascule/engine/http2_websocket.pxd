from bascule.engine.exchange cimport Exchange
from bascule.engine.http2_stream cimport Http2Stream

cdef class Http2Websocket(Http2Stream):
    cdef int pass_on(self, const char* p, Py_ssize_t n)
    cdef int half_over(self)
    cdef int hang_up(self)
