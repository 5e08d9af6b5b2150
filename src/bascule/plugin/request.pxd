cimport cython
from bascule.wire.head cimport Head


@cython.freelist(64)
cdef class Request:
    cdef Head head
    cdef public object exchange     # engine's exchange or a test double: see plugin/exchange.py
    cdef public object route        # CompiledRoute or None
    cdef public object consumer     # ConsumerBinding or None
    cdef public object response     # Response once known (header_filter, body_filter, log), or None
    cdef list added                 # [(name: bytes, value: bytes)] appended to the upstream head
    cdef object method_out          # bytes or None: replaces the method upstream
    cdef object target_out          # bytes or None: replaces the request target upstream
    cdef object host_out            # bytes or None: replaces Host upstream (beats pass_host)
    cdef object client_addr         # str set by real-ip, else None
    cdef int client_port
    cdef object body_out            # bytes or None: replaces the body upstream
    cdef dict variables             # set_var
    cdef object path_               # cache: normalised path (str)
    cdef object args_               # cache: parsed query (list)
    cdef object ctx_                # cache: scratch dict
    cdef object chosen              # UpstreamHandle that a plugin chose, or None: the route's upstream
    cdef public object rate_limit   # what limit-count decided: (key or its parts, limit, remaining, s to its reset)
    cdef object posted_             # cache: (body, parsed document), see plugin/posted.py
    cdef list ahead                 # [(name: bytes, value: bytes)] of set_response_headers
    cdef unsigned long long ahead_lengths   # bits of the lengths of their names, modulo 64
    cdef str peer                   # exchange.remote_addr where the engine has it at hand, else None
    cdef dict consumers             # plugin -> key -> ConsumerBinding where the engine has it at hand, else None
    cdef public dict params         # uri_param_*
    cdef str header_(self, str name)
    cdef str normal_path_(self)
    cdef str slice_(self, int off, int n)
