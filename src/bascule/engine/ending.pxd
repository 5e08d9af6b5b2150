from bascule.engine.exchange cimport Exchange
from bascule.plugin.response cimport Response

cdef int respond(Exchange x, Response r, int source)
cdef int fail(Exchange x, int status, str reason)
cdef int client_gone(Exchange x)
cdef int finish(Exchange x)
