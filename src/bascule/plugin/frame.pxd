cimport cython


@cython.freelist(64)
cdef class Frame:
    cdef readonly int opcode        # 1 text, 2 binary, 0 continuation, 8 close, 9 ping, 10 pong
    cdef readonly bint fin          # the last frame of its message
    cdef readonly bint from_client
    cdef readonly long long size    # bytes of payload
    cdef readonly bytes payload     # None where the plugin asked for none
