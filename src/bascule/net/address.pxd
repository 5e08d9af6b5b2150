from bascule.net.cnet cimport sockaddr_storage, socklen_t

cdef struct Address:
    sockaddr_storage storage
    socklen_t size

cdef bint parse_address(str host, int port, Address* out)     # literal IPv4/IPv6 or "unix:/path"; False: a name
# IP as text into out[64]; returns its length, 0 for Unix sockets
cdef int format_host(const Address* a, char* out) noexcept
cdef int port_of(const Address* a) noexcept
cdef str local_host(int fd)
