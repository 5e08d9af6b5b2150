from bascule.net cimport openssl
from bascule.net.tls cimport Tls

# Accepts TLS connections; which identity one gets is found by the server name that the client asks for.
cdef class TlsServer:
    cdef openssl.SSL_CTX* context
    cdef object find                    # (str or None) -> TlsIdentity or None
    cdef public dict challenges         # server name -> TlsIdentity that an authority looks for; None: none does
    cdef object sessions                # net/session_cache.py's, shared with other processes; None: only this one's
    cdef bytes secret
    cdef dict keys                      # period -> (name, encryption key, authentication key) of tickets
    cdef int accept(self, Tls tls, bint http2) except? -1
