# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Certificates with their keys, parsed: set on a connection once its server name is known."""

import hashlib

import cython
from cython.cimports.bascule.net import openssl
from cython.cimports.libc.string import memcpy

VERSIONS = {
    "TLSv1.1": openssl.TLS1_1_VERSION,
    "TLSv1.2": openssl.TLS1_2_VERSION,
    "TLSv1.3": openssl.TLS1_3_VERSION,
}


def openssl_error(what: str) -> ValueError:
    """What OpenSSL says of its last failure, as an exception to raise."""
    code: cython.ulong = openssl.ERR_peek_last_error()
    text: cython.p_const_char = openssl.ERR_reason_error_string(code) if code else cython.NULL
    openssl.ERR_clear_error()
    reason = "" if text == cython.NULL else ": " + cython.cast(bytes, text).decode("ascii", "replace")
    return ValueError(f"{what}{reason}")


@cython.cfunc
@cython.exceptval(-1)
def make_store(pem: bytes, out: cython.pointer(cython.pointer(openssl.X509_STORE))) -> cython.int:
    """A store that trusts these certificates. Raises ValueError."""
    store: cython.pointer(openssl.X509_STORE) = openssl.X509_STORE_new()
    bio: cython.pointer(openssl.BIO) = openssl.BIO_new_mem_buf(cython.cast(cython.p_char, pem), len(pem))
    x: cython.pointer(openssl.X509)
    n: cython.int = 0
    if store == cython.NULL or bio == cython.NULL:
        raise MemoryError
    while True:
        x = openssl.PEM_read_bio_X509(bio, cython.NULL, cython.NULL, cython.NULL)
        if x == cython.NULL:
            break
        openssl.X509_STORE_add_cert(store, x)
        openssl.X509_free(x)
        n += 1
    openssl.BIO_free(bio)
    openssl.ERR_clear_error()
    if n == 0:
        openssl.X509_STORE_free(store)
        raise ValueError("no certificate can be read")
    openssl.X509_STORE_set_flags(store, openssl.X509_V_FLAG_PARTIAL_CHAIN)
    out[0] = store
    return 0


@cython.cclass
class TlsIdentity:
    """`pairs`: (certificate chain, key) as PEM text, each of another kind of key. `protocols`: empty means as the
    server's. `client_ca`: PEM text of those that clients' certificates are checked by. Raises ValueError."""

    def __init__(self, pairs, *, protocols=(), ciphers=None, ciphersuites=None, client_ca=None, depth=1, name=""):
        for certificate, key in pairs:
            self.add_pair(certificate.encode(), key.encode())
        self.staples = [None] * self.count
        if protocols:
            versions = {VERSIONS[protocol] for protocol in protocols}
            self.min_version, self.max_version = min(versions), max(versions)
            self.without_1_2 = len(versions) == 2 and VERSIONS["TLSv1.2"] not in versions
        self.ciphers = None if ciphers is None else ciphers.encode()
        self.suites = None if ciphersuites is None else ciphersuites.encode()
        self.depth = depth
        told = hashlib.sha256(name.encode())
        if client_ca is not None:
            pem = client_ca.encode()
            told.update(pem)
            told.update(b"%d" % depth)
            make_store(pem, cython.address(self.client_store))
            self.asks_client = True
            self.name_authorities(pem)
        self.context = told.digest()

    def __dealloc__(self):
        i: cython.int
        for i in range(self.count):
            openssl.X509_free(self.certificates[i])
            openssl.EVP_PKEY_free(self.keys[i])
            openssl.sk_X509_pop_free(self.chains[i], openssl.X509_free)
        if self.client_store != cython.NULL:
            openssl.X509_STORE_free(self.client_store)
        if self.client_names != cython.NULL:
            openssl.sk_X509_NAME_pop_free(self.client_names, openssl.X509_NAME_free)

    def name_authorities(self, pem: bytes):
        """The names that clients are told to choose their certificate by."""
        bio: cython.pointer(openssl.BIO) = openssl.BIO_new_mem_buf(cython.cast(cython.p_char, pem), len(pem))
        x: cython.pointer(openssl.X509)
        self.client_names = openssl.sk_X509_NAME_new_null()
        while True:
            x = openssl.PEM_read_bio_X509(bio, cython.NULL, cython.NULL, cython.NULL)
            if x == cython.NULL:
                break
            openssl.sk_X509_NAME_push(self.client_names, openssl.X509_NAME_dup(openssl.X509_get_subject_name(x)))
            openssl.X509_free(x)
        openssl.BIO_free(bio)
        openssl.ERR_clear_error()

    @cython.cfunc
    @cython.exceptval(-1)
    def add_pair(self, certificate: bytes, key: bytes) -> cython.int:
        n: cython.int = self.count
        bio: cython.pointer(openssl.BIO)
        x: cython.pointer(openssl.X509)
        k: cython.pointer(openssl.EVP_PKEY)
        if n == MAX_PAIRS:
            raise ValueError(f"more than {MAX_PAIRS} certificates")
        bio = openssl.BIO_new_mem_buf(cython.cast(cython.p_char, certificate), len(certificate))
        x = openssl.PEM_read_bio_X509(bio, cython.NULL, cython.NULL, cython.NULL)
        if x == cython.NULL:
            openssl.BIO_free(bio)
            raise openssl_error("the certificate can't be read")
        self.certificates[n] = x
        self.keys[n] = cython.NULL
        self.chains[n] = openssl.sk_X509_new_null()
        self.count = n + 1
        while True:
            x = openssl.PEM_read_bio_X509(bio, cython.NULL, cython.NULL, cython.NULL)
            if x == cython.NULL:
                break
            openssl.sk_X509_push(self.chains[n], x)
        openssl.BIO_free(bio)
        openssl.ERR_clear_error()
        bio = openssl.BIO_new_mem_buf(cython.cast(cython.p_char, key), len(key))
        # A passphrase of no bytes: it must never be asked for on the terminal.
        k = openssl.PEM_read_bio_PrivateKey(bio, cython.NULL, cython.NULL, cython.cast(cython.p_void, b""))
        openssl.BIO_free(bio)
        if k == cython.NULL:
            raise openssl_error("the key can't be read")
        self.keys[n] = k
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def prepare(self, ssl: cython.pointer(openssl.SSL)) -> cython.int:
        if self.min_version:
            openssl.SSL_set_min_proto_version(ssl, self.min_version)
            openssl.SSL_set_max_proto_version(ssl, self.max_version)
            if self.without_1_2:
                openssl.SSL_set_options(ssl, openssl.SSL_OP_NO_TLSv1_2)
            if self.min_version < openssl.TLS1_2_VERSION:
                openssl.SSL_set_security_level(ssl, 0)  # TLS 1.1 signs with SHA-1
        if self.ciphers is not None:
            openssl.SSL_set_cipher_list(ssl, cython.cast(cython.p_char, self.ciphers))
        if self.suites is not None:
            openssl.SSL_set_ciphersuites(ssl, cython.cast(cython.p_char, self.suites))
        openssl.SSL_set_session_id_context(
            ssl, cython.cast(cython.pointer(cython.uchar), cython.cast(cython.p_char, self.context)), 32
        )
        if self.asks_client:
            openssl.SSL_set_verify(ssl, openssl.SSL_VERIFY_PEER, note_only)
            openssl.SSL_set_verify_depth(ssl, self.depth)
            openssl.SSL_set1_verify_cert_store(ssl, self.client_store)
            openssl.SSL_set0_CA_list(ssl, copied(self.client_names))
        return 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def show(self, ssl: cython.pointer(openssl.SSL)) -> cython.int:
        i: cython.int
        for i in range(self.count):
            if openssl.SSL_use_cert_and_key(ssl, self.certificates[i], self.keys[i], self.chains[i], 1) != 1:
                return 0
        return 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def staple(self, ssl: cython.pointer(openssl.SSL)) -> cython.int:
        shown: cython.pointer(openssl.X509) = openssl.SSL_get_certificate(ssl)
        i: cython.int
        copy: cython.pointer(cython.uchar)
        for i in range(self.count):
            if self.certificates[i] == shown and self.staples[i] is not None:
                response: bytes = self.staples[i]
                copy = cython.cast(cython.pointer(cython.uchar), openssl.OPENSSL_malloc(len(response)))
                if copy == cython.NULL:
                    return 0
                memcpy(copy, cython.cast(cython.p_char, response), len(response))
                openssl.SSL_set_tlsext_status_ocsp_resp(ssl, copy, len(response))
                return 1
        return 0

    def check(self):
        """Raises ValueError if OpenSSL wouldn't use a pair: it doesn't match, or is too weak."""
        context: cython.pointer(openssl.SSL_CTX) = openssl.SSL_CTX_new(openssl.TLS_server_method())
        i: cython.int
        try:
            if self.min_version and self.min_version < openssl.TLS1_2_VERSION:
                openssl.SSL_CTX_set_security_level(context, 0)
            for i in range(self.count):
                if (
                    openssl.SSL_CTX_use_cert_and_key(context, self.certificates[i], self.keys[i], self.chains[i], 1)
                    != 1
                ):
                    raise openssl_error(f"certificate {i + 1} can't be used")
        finally:
            openssl.SSL_CTX_free(context)


@cython.cfunc
@cython.exceptval(check=False)
def note_only(good: cython.int, context: cython.pointer(openssl.X509_STORE_CTX)) -> cython.int:
    """A client that isn't trusted gets an HTTP answer, rather than an alert: the result is looked at there."""
    return 1


@cython.cfunc
@cython.exceptval(check=False)
def copied(names: cython.pointer(openssl.X509_NAME_stack)) -> cython.pointer(openssl.X509_NAME_stack):
    copy: cython.pointer(openssl.X509_NAME_stack) = openssl.sk_X509_NAME_new_null()
    i: cython.int
    for i in range(openssl.sk_X509_NAME_num(names)):
        openssl.sk_X509_NAME_push(copy, openssl.X509_NAME_dup(openssl.sk_X509_NAME_value(names, i)))
    return copy
