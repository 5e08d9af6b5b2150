from bascule.net cimport openssl

cdef enum:
    MAX_PAIRS = 8

# What a server shows for one set of names, and what it asks of clients; or what a client shows to servers.
cdef class TlsIdentity:
    cdef openssl.X509* certificates[MAX_PAIRS]
    cdef openssl.EVP_PKEY* keys[MAX_PAIRS]
    cdef openssl.X509_stack* chains[MAX_PAIRS]
    cdef int count
    cdef int min_version                # 0: as the server's
    cdef int max_version
    cdef bint without_1_2               # 1.1 and 1.3 without what is between them
    cdef bytes ciphers
    cdef bytes suites           # of TLS 1.3
    cdef openssl.X509_STORE* client_store
    cdef openssl.X509_NAME_stack* client_names
    cdef int depth
    cdef bytes context                  # sessions of another one aren't resumed here
    cdef public list staples            # OCSP responses (DER or None), one for each pair
    cdef public object source           # what it was made from
    cdef readonly bint asks_client
    cdef int add_pair(self, bytes certificate, bytes key) except? -1
    cdef int prepare(self, openssl.SSL* ssl) noexcept   # before the version is chosen
    cdef int show(self, openssl.SSL* ssl) noexcept      # the certificates; 1, or 0 when that fails
    cdef int staple(self, openssl.SSL* ssl) noexcept    # 1: an OCSP response was added

cdef int make_store(bytes pem, openssl.X509_STORE** out) except? -1
