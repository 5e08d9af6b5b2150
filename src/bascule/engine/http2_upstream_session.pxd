from bascule.engine.http2_upstream_connection cimport Http2UpstreamConnection

# Its session begins; `fd` stands, connected or on its way.
cdef int start_http2(Http2UpstreamConnection c)
