from bascule.net cimport openssl
from bascule.net.tls cimport Tls

# What connections to servers are made with.
cdef class TlsClient:
    cdef openssl.SSL_CTX* context
    cdef readonly bint verify
    cdef dict sessions                  # (address, server name) -> TlsSession, to go on with
    cdef int connect(self, Tls tls, object place, str name, bytes protocols) except? -1

cdef class TlsSession:
    cdef openssl.SSL_SESSION* session
