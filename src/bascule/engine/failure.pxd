# Why a try at an upstream failed.
cdef enum:
    F_CONNECT = 1
    F_CONNECT_TIMEOUT = 2
    F_CLOSED = 3        # reset or closed before a whole response
    F_READ_TIMEOUT = 4
    F_SEND_TIMEOUT = 5
    F_MALFORMED = 6
    F_NO_ADDRESS = 7
