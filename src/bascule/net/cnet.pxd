# C declarations of the sockets interface: pure-Python mode cannot express them.
cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        unsigned long long u64
    struct epoll_event:
        unsigned int events
        epoll_data_t data
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_wait(int, epoll_event*, int, int)
    enum: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR
    enum: EPOLLET, EPOLLEXCLUSIVE, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
    enum: EPOLL_CLOEXEC

cdef extern from "sys/ioctl.h" nogil:
    int ioctl(int, unsigned long, ...)

cdef extern from "linux/sockios.h" nogil:
    enum: SIOCOUTQ

cdef extern from "sys/uio.h" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    ssize_t writev(int, const iovec*, int)

cdef extern from "sys/socket.h" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family
    int socket(int, int, int)
    int connect(int, const sockaddr*, socklen_t)
    int accept4(int, sockaddr*, socklen_t*, int)
    int getsockname(int, sockaddr*, socklen_t*)
    ssize_t recv(int, void*, size_t, int)
    ssize_t send(int, const void*, size_t, int)
    int setsockopt(int, int, int, const void*, socklen_t)
    int getsockopt(int, int, int, void*, socklen_t*)
    int shutdown(int, int)
    enum: AF_INET, AF_INET6, AF_UNIX, SOCK_STREAM, SOCK_NONBLOCK
    enum: SOCK_CLOEXEC, MSG_NOSIGNAL, MSG_PEEK, MSG_DONTWAIT, SOL_SOCKET
    enum: SO_ERROR, SO_LINGER, SHUT_WR, SHUT_RDWR

cdef extern from "netinet/in.h" nogil:
    struct in_addr:
        unsigned int s_addr
    struct sockaddr_in:
        unsigned short sin_family
        unsigned short sin_port
        in_addr sin_addr
    struct in6_addr:
        unsigned char s6_addr[16]
    struct sockaddr_in6:
        unsigned short sin6_family
        unsigned short sin6_port
        in6_addr sin6_addr
    enum: IPPROTO_TCP

cdef extern from "netinet/tcp.h" nogil:
    enum: TCP_NODELAY

cdef extern from "sys/un.h" nogil:
    struct sockaddr_un:
        unsigned short sun_family
        char sun_path[108]

cdef extern from "arpa/inet.h" nogil:
    unsigned short htons(unsigned short)
    unsigned short ntohs(unsigned short)
    int inet_pton(int, const char*, void*)
    const char* inet_ntop(int, const void*, char*, socklen_t)

cdef extern from "unistd.h" nogil:
    int close(int)

cdef extern from "errno.h" nogil:
    int errno
    enum: EAGAIN, EINTR, EINPROGRESS, EMFILE, ENFILE, ECONNREFUSED, ECONNRESET, EPIPE, ETIMEDOUT, EAFNOSUPPORT

cdef extern from "time.h" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int, timespec*)
    enum: CLOCK_MONOTONIC, CLOCK_REALTIME
