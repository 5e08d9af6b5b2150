# PROXY protocol, versions 1 and 2 (haproxy.org/download/2.9/doc/proxy-protocol.txt).
cdef extern from "arpa/inet.h" nogil:
    int AF_INET
    int AF_INET6
    int inet_pton(int family, const char* text, void* address)
    const char* inet_ntop(int family, const void* address, char* out, unsigned int size)

cdef enum:
    PROXY_V1_MAX = 107          # bytes of the longest line, with its CRLF
    PROXY_MAX = 4096            # of a header of version 2, with its TLVs

# Whom a connection is for, as the proxy before it says.
cdef class ProxyHeader:
    cdef readonly int version
    cdef readonly str source            # None: it tells no addresses (UNKNOWN, LOCAL, Unix sockets)
    cdef readonly str destination
    cdef readonly int source_port
    cdef readonly int destination_port
    # Takes a header at the start of p: its length; 0: more must come; -1: that is none.
    cdef int take(self, const char* p, Py_ssize_t n)
    cdef int take_text(self, const char* p, Py_ssize_t n)
    cdef int take_binary(self, const char* p, Py_ssize_t n)
