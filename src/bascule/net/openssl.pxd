# C declarations of OpenSSL (>= 3.0): pure-Python mode cannot express them.
from libc.stdint cimport uint64_t

cdef extern from "openssl/opensslv.h" nogil:
    pass

cdef extern from "openssl/bio.h" nogil:
    ctypedef struct BIO:
        pass
    ctypedef struct BIO_METHOD:
        pass
    BIO_METHOD* BIO_meth_new(int, const char*)
    int BIO_meth_set_read(BIO_METHOD*, int (*)(BIO*, char*, int) noexcept)
    int BIO_meth_set_write(BIO_METHOD*, int (*)(BIO*, const char*, int) noexcept)
    int BIO_meth_set_ctrl(BIO_METHOD*, long (*)(BIO*, int, long, void*) noexcept)
    BIO* BIO_new(const BIO_METHOD*)
    BIO* BIO_new_mem_buf(const void*, int)
    int BIO_free(BIO*)
    void BIO_set_data(BIO*, void*)
    void* BIO_get_data(BIO*)
    void BIO_set_retry_read(BIO*)
    void BIO_clear_retry_flags(BIO*)
    enum: BIO_TYPE_SOURCE_SINK, BIO_CTRL_FLUSH

cdef extern from "openssl/err.h" nogil:
    unsigned long ERR_peek_error()
    unsigned long ERR_peek_last_error()
    void ERR_clear_error()
    const char* ERR_reason_error_string(unsigned long)
    int ERR_GET_REASON(unsigned long)

cdef extern from "openssl/evp.h" nogil:
    ctypedef struct EVP_PKEY:
        pass
    ctypedef struct EVP_CIPHER:
        pass
    ctypedef struct EVP_CIPHER_CTX:
        pass
    ctypedef struct EVP_MAC_CTX:
        pass
    void EVP_PKEY_free(EVP_PKEY*)
    const EVP_CIPHER* EVP_aes_256_cbc()
    int EVP_CipherInit_ex(EVP_CIPHER_CTX*, const EVP_CIPHER*, void*, const unsigned char*, const unsigned char*, int)
    int EVP_MAC_CTX_set_params(EVP_MAC_CTX*, const OSSL_PARAM*)

cdef extern from "openssl/params.h" nogil:
    ctypedef struct OSSL_PARAM:
        pass
    OSSL_PARAM OSSL_PARAM_construct_octet_string(const char*, void*, size_t)
    OSSL_PARAM OSSL_PARAM_construct_utf8_string(const char*, char*, size_t)
    OSSL_PARAM OSSL_PARAM_construct_end()

cdef extern from "openssl/rand.h" nogil:
    int RAND_bytes(unsigned char*, int)

cdef extern from "openssl/x509.h" nogil:
    ctypedef struct X509:
        pass
    ctypedef struct X509_NAME:
        pass
    ctypedef struct X509_STORE:
        pass
    ctypedef struct X509_STORE_CTX:
        pass
    ctypedef struct X509_VERIFY_PARAM:
        pass
    void X509_free(X509*)
    int X509_up_ref(X509*)
    int i2d_X509(X509*, unsigned char**)
    X509_NAME* X509_get_subject_name(X509*)
    X509_NAME* X509_NAME_dup(const X509_NAME*)
    X509_STORE* X509_STORE_new()
    void X509_STORE_free(X509_STORE*)
    int X509_STORE_add_cert(X509_STORE*, X509*)
    int X509_STORE_set_flags(X509_STORE*, unsigned long)
    int X509_STORE_load_file(X509_STORE*, const char*)
    int X509_STORE_set_default_paths(X509_STORE*)
    const char* X509_verify_cert_error_string(long)
    int X509_VERIFY_PARAM_set1_host(X509_VERIFY_PARAM*, const char*, size_t)
    int X509_VERIFY_PARAM_set1_ip_asc(X509_VERIFY_PARAM*, const char*)
    enum: X509_V_OK, X509_V_FLAG_PARTIAL_CHAIN

    ctypedef struct X509_stack "STACK_OF(X509)":
        pass
    X509_stack* sk_X509_new_null()
    int sk_X509_push(X509_stack*, X509*)
    int sk_X509_num(const X509_stack*)
    void sk_X509_pop_free(X509_stack*, void (*)(X509*))
    ctypedef struct X509_NAME_stack "STACK_OF(X509_NAME)":
        pass
    X509_NAME_stack* sk_X509_NAME_new_null()
    int sk_X509_NAME_push(X509_NAME_stack*, X509_NAME*)
    int sk_X509_NAME_num(const X509_NAME_stack*)
    X509_NAME* sk_X509_NAME_value(const X509_NAME_stack*, int)
    void sk_X509_NAME_pop_free(X509_NAME_stack*, void (*)(X509_NAME*))
    void X509_NAME_free(X509_NAME*)

cdef extern from "openssl/pem.h" nogil:
    X509* PEM_read_bio_X509(BIO*, X509**, void*, void*)
    EVP_PKEY* PEM_read_bio_PrivateKey(BIO*, EVP_PKEY**, void*, void*)

cdef extern from "openssl/ssl.h" nogil:
    ctypedef struct SSL_CTX:
        pass
    ctypedef struct SSL:
        pass
    ctypedef struct SSL_METHOD:
        pass
    ctypedef struct SSL_CIPHER:
        pass
    ctypedef struct SSL_SESSION:
        pass
    SSL_SESSION* d2i_SSL_SESSION(SSL_SESSION**, const unsigned char**, long)
    int i2d_SSL_SESSION(SSL_SESSION*, unsigned char**)
    const unsigned char* SSL_SESSION_get_id(const SSL_SESSION*, unsigned int*)
    enum: SSL_SESS_CACHE_NO_INTERNAL
    const SSL_METHOD* TLS_server_method()
    const SSL_METHOD* TLS_client_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD*)
    void SSL_CTX_free(SSL_CTX*)
    uint64_t SSL_CTX_set_options(SSL_CTX*, uint64_t)
    long SSL_CTX_set_mode(SSL_CTX*, long)
    int SSL_CTX_set_cipher_list(SSL_CTX*, const char*)
    int SSL_CTX_set_ciphersuites(SSL_CTX*, const char*)
    int SSL_CTX_set_num_tickets(SSL_CTX*, size_t)
    long SSL_CTX_set_session_cache_mode(SSL_CTX*, long)
    long SSL_CTX_set_timeout(SSL_CTX*, long)
    long SSL_CTX_set_min_proto_version(SSL_CTX*, int)
    long SSL_CTX_set_max_proto_version(SSL_CTX*, int)
    void SSL_CTX_set_security_level(SSL_CTX*, int)
    void SSL_CTX_set_verify(SSL_CTX*, int, void*)
    void SSL_CTX_set_cert_store(SSL_CTX*, X509_STORE*)
    int SSL_CTX_use_cert_and_key(SSL_CTX*, X509*, EVP_PKEY*, X509_stack*, int)
    int SSL_client_hello_get0_ext(SSL*, unsigned int, const unsigned char**, size_t*)
    SSL* SSL_new(SSL_CTX*)
    void SSL_free(SSL*)
    void SSL_set_accept_state(SSL*)
    void SSL_set_connect_state(SSL*)
    void SSL_set_bio(SSL*, BIO*, BIO*)
    int SSL_set_ex_data(SSL*, int, void*)
    void* SSL_get_ex_data(const SSL*, int)
    int SSL_do_handshake(SSL*)
    int SSL_read(SSL*, void*, int)
    int SSL_peek(SSL*, void*, int)
    int SSL_write(SSL*, const void*, int)
    int SSL_shutdown(SSL*)
    void SSL_set_shutdown(SSL*, int)
    int SSL_get_error(const SSL*, int)
    int SSL_has_pending(const SSL*)
    uint64_t SSL_set_options(SSL*, uint64_t)
    long SSL_set_min_proto_version(SSL*, int)
    long SSL_set_max_proto_version(SSL*, int)
    void SSL_set_security_level(SSL*, int)
    int SSL_set_cipher_list(SSL*, const char*)
    int SSL_set_ciphersuites(SSL*, const char*)
    int SSL_set_session_id_context(SSL*, const unsigned char*, unsigned int)
    void SSL_set_verify_depth(SSL*, int)
    long SSL_set1_verify_cert_store(SSL*, X509_STORE*)
    void SSL_set0_CA_list(SSL*, X509_NAME_stack*)
    int SSL_use_cert_and_key(SSL*, X509*, EVP_PKEY*, X509_stack*, int)
    void SSL_certs_clear(SSL*)
    long SSL_set_tlsext_host_name(SSL*, const char*)
    long SSL_set_tlsext_status_ocsp_resp(SSL*, unsigned char*, long)
    int SSL_set_alpn_protos(SSL*, const unsigned char*, unsigned int)
    void SSL_get0_alpn_selected(const SSL*, const unsigned char**, unsigned int*)
    X509_VERIFY_PARAM* SSL_get0_param(SSL*)
    long SSL_get_verify_result(const SSL*)
    X509* SSL_get1_peer_certificate(const SSL*)
    X509* SSL_get_certificate(const SSL*)
    const char* SSL_get_version(const SSL*)
    const SSL_CIPHER* SSL_get_current_cipher(const SSL*)
    const char* SSL_CIPHER_get_name(const SSL_CIPHER*)
    int SSL_session_reused(const SSL*)
    SSL_SESSION* SSL_get_session(const SSL*)
    const unsigned char* SSL_SESSION_get_id(const SSL_SESSION*, unsigned int*)
    int SSL_set_session(SSL*, SSL_SESSION*)
    int SSL_SESSION_up_ref(SSL_SESSION*)
    int SSL_SESSION_is_resumable(const SSL_SESSION*)
    void SSL_SESSION_free(SSL_SESSION*)
    enum: SSL_ERROR_NONE, SSL_ERROR_WANT_READ, SSL_ERROR_ZERO_RETURN, SSL_ERROR_SYSCALL, SSL_ERROR_SSL
    enum: SSL_MODE_RELEASE_BUFFERS, SSL_MODE_NO_AUTO_CHAIN
    enum: SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_COMPRESSION, SSL_OP_CIPHER_SERVER_PREFERENCE
    enum: SSL_OP_PRIORITIZE_CHACHA, SSL_OP_IGNORE_UNEXPECTED_EOF, SSL_OP_NO_TICKET, SSL_OP_NO_TLSv1_2
    enum: SSL_SESS_CACHE_OFF, SSL_SESS_CACHE_SERVER, SSL_SESS_CACHE_CLIENT, SSL_SESS_CACHE_NO_INTERNAL_STORE
    enum: SSL_VERIFY_NONE, SSL_VERIFY_PEER
    enum: SSL_SENT_SHUTDOWN, SSL_RECEIVED_SHUTDOWN
    enum: TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION
    enum: SSL_TLSEXT_ERR_OK, SSL_TLSEXT_ERR_NOACK, SSL_TLSEXT_ERR_ALERT_FATAL
    enum: SSL_CLIENT_HELLO_SUCCESS, SSL_CLIENT_HELLO_ERROR
    enum: TLSEXT_TYPE_application_layer_protocol_negotiation
    enum: TLSEXT_TYPE_server_name, SSL_AD_UNRECOGNIZED_NAME, SSL_AD_INTERNAL_ERROR, SSL_AD_DECODE_ERROR
    enum: SSL_R_HTTP_REQUEST

cdef extern from "openssl/crypto.h" nogil:
    void* OPENSSL_malloc(size_t)
    void OPENSSL_free(void*)

# What takes callbacks: those run with the GIL, since all calls into OpenSSL hold it.
cdef extern from "openssl/ssl.h":
    void SSL_CTX_set_client_hello_cb(SSL_CTX*, int (*)(SSL*, int*, void*) noexcept, void*)
    long SSL_CTX_set_tlsext_servername_callback(SSL_CTX*, int (*)(SSL*, int*, void*) noexcept)
    void SSL_CTX_set_cert_cb(SSL_CTX*, int (*)(SSL*, void*) noexcept, void*)
    ctypedef int (*alpn_cb)(
        SSL*, const unsigned char**, unsigned char*, const unsigned char*, unsigned int, void*
    ) noexcept
    void SSL_CTX_set_alpn_select_cb(SSL_CTX*, alpn_cb, void*)
    ctypedef int (*ticket_cb)(
        SSL*, unsigned char*, unsigned char*, EVP_CIPHER_CTX*, EVP_MAC_CTX*, int
    ) noexcept
    long SSL_CTX_set_tlsext_ticket_key_evp_cb(SSL_CTX*, ticket_cb)
    long SSL_CTX_set_tlsext_status_cb(SSL_CTX*, int (*)(SSL*, void*) noexcept)
    void SSL_CTX_sess_set_new_cb(SSL_CTX*, int (*)(SSL*, SSL_SESSION*) noexcept)
    ctypedef SSL_SESSION* (*session_cb)(SSL*, const unsigned char*, int, int*) noexcept
    void SSL_CTX_sess_set_get_cb(SSL_CTX*, session_cb)
    void SSL_set_verify(SSL*, int, int (*)(int, X509_STORE_CTX*) noexcept)
