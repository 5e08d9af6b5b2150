from bascule.engine.parties cimport Core, Downstream
from bascule.engine.http2_connection cimport Http2Connection

# The client's connection speaks HTTP/2 from here on: p are its first n bytes, the preface included.
cdef Http2Connection make_http2(Core core, Downstream client, const char* p, Py_ssize_t n)
