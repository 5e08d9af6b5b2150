# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The server's side of TLS: one OpenSSL context for all names."""

import hmac
import time

import cython
from cython.cimports.bascule.net import openssl
from cython.cimports.bascule.net.tls import Tls
from cython.cimports.bascule.net.tls_identity import TlsIdentity
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.libc.string import memcmp, memcpy

from bascule.net.tls_identity import VERSIONS, openssl_error

# Keys of session tickets come from one secret and the time: all workers have the same without talking.
TICKET_PERIOD_S = 12 * 3600
SESSION_S = 600
H2 = cython.declare(bytes, b"\x02h2")
HTTP_1_1 = cython.declare(bytes, b"\x08http/1.1")
ACME_TLS = cython.declare(bytes, b"\x0aacme-tls/1")  # RFC 8737


@cython.cclass
class TlsServer:
    """`find(name)` gives the identity for a server name (lower-case; None: the client named none), or None for a name
    that isn't served. `secret`: what the keys of session tickets are made from; `sessions`: a SessionCache, for
    resumption without tickets. Raises ValueError."""

    def __init__(
        self,
        find,
        *,
        protocols=("TLSv1.2", "TLSv1.3"),
        ciphers="DEFAULT",
        ciphersuites=None,
        tickets=False,
        secret=b"",
        sessions=None,
    ):
        options: cython.ulonglong
        self.find = find
        self.secret = secret
        self.sessions = sessions
        self.keys = {}
        self.context = openssl.SSL_CTX_new(openssl.TLS_server_method())
        if self.context == cython.NULL:
            raise MemoryError
        openssl.SSL_CTX_set_mode(self.context, openssl.SSL_MODE_RELEASE_BUFFERS | openssl.SSL_MODE_NO_AUTO_CHAIN)
        options = (
            openssl.SSL_OP_NO_RENEGOTIATION
            | openssl.SSL_OP_NO_COMPRESSION
            | openssl.SSL_OP_CIPHER_SERVER_PREFERENCE
            | openssl.SSL_OP_PRIORITIZE_CHACHA
            | openssl.SSL_OP_IGNORE_UNEXPECTED_EOF
        )
        versions = {VERSIONS[protocol] for protocol in protocols}
        if len(versions) == 2 and VERSIONS["TLSv1.2"] not in versions:
            options |= openssl.SSL_OP_NO_TLSv1_2
        if not tickets:
            options |= openssl.SSL_OP_NO_TICKET
        openssl.SSL_CTX_set_options(self.context, options)
        openssl.SSL_CTX_set_min_proto_version(self.context, min(versions))
        openssl.SSL_CTX_set_max_proto_version(self.context, max(versions))
        if min(versions) < VERSIONS["TLSv1.2"]:
            openssl.SSL_CTX_set_security_level(self.context, 0)
        if openssl.SSL_CTX_set_cipher_list(self.context, ciphers.encode()) != 1:
            raise openssl_error(f"no cipher of {ciphers!r} is known")
        if ciphersuites is not None and openssl.SSL_CTX_set_ciphersuites(self.context, ciphersuites.encode()) != 1:
            raise openssl_error(f"{ciphersuites!r} aren't cipher suites of TLS 1.3")
        if sessions is None or tickets:
            openssl.SSL_CTX_set_session_cache_mode(self.context, openssl.SSL_SESS_CACHE_SERVER)
        else:
            openssl.SSL_CTX_set_session_cache_mode(
                self.context, openssl.SSL_SESS_CACHE_SERVER | openssl.SSL_SESS_CACHE_NO_INTERNAL
            )
            openssl.SSL_CTX_sess_set_new_cb(self.context, on_new_session)
            openssl.SSL_CTX_sess_set_get_cb(self.context, on_get_session)
        openssl.SSL_CTX_set_timeout(self.context, SESSION_S)
        openssl.SSL_CTX_set_client_hello_cb(self.context, on_client_hello, cython.NULL)
        openssl.SSL_CTX_set_tlsext_servername_callback(self.context, on_server_name)
        openssl.SSL_CTX_set_cert_cb(self.context, on_certificate, cython.NULL)
        openssl.SSL_CTX_set_alpn_select_cb(self.context, on_alpn, cython.NULL)
        openssl.SSL_CTX_set_tlsext_status_cb(self.context, on_status)
        if tickets:
            openssl.SSL_CTX_set_tlsext_ticket_key_evp_cb(self.context, on_ticket)

    def __dealloc__(self):
        if self.context != cython.NULL:
            openssl.SSL_CTX_free(self.context)

    @cython.cfunc
    @cython.exceptval(-1)
    def accept(self, tls: Tls, http2: cython.bint) -> cython.int:
        """Makes tls the server's side of a new connection. `http2`: whether ALPN may choose it."""
        tls.server = self
        tls.http2 = http2
        tls.accepting = True
        tls.create(self.context)
        openssl.SSL_set_accept_state(tls.ssl)
        return 0

    def ticket_keys(self, period):
        """The keys of one period: (name of 16 bytes, encryption key, authentication key of 32 bytes each)."""
        keys = self.keys.get(period)
        if keys is None:
            parts = [
                hmac.digest(self.secret, b"%s %d" % (what, period), "sha256") for what in (b"name", b"aes", b"mac")
            ]
            keys = (parts[0][:16], parts[1], parts[2])
            for old in [old for old in self.keys if abs(old - period) > 2]:
                del self.keys[old]
            self.keys[period] = keys
        return keys


@cython.cfunc
@cython.exceptval(check=False)
def on_client_hello(ssl: cython.pointer(openssl.SSL), alert: cython.p_int, nothing: cython.p_void) -> cython.int:
    """Before anything is chosen: whom does the client want to talk to?"""
    p: cython.pointer(cython.const[cython.uchar]) = cython.NULL
    n: cython.size_t = 0
    k: cython.int
    identity: TlsIdentity
    tls: Tls = cython.cast(Tls, openssl.SSL_get_ex_data(ssl, 0))
    alert[0] = openssl.SSL_AD_UNRECOGNIZED_NAME
    if openssl.SSL_client_hello_get0_ext(ssl, openssl.TLSEXT_TYPE_server_name, cython.address(p), cython.address(n)):
        k = (p[3] << 8 | p[4]) if n > 5 else 0
        if k < 1 or k > 255 or n != k + 5 or p[2] != 0 or (p[0] << 8 | p[1]) != k + 3:
            alert[0] = openssl.SSL_AD_DECODE_ERROR
            tls.failure = "malformed server name"
            return openssl.SSL_CLIENT_HELLO_ERROR
        name = cython.cast(cython.p_const_char, p)[5 : 5 + k]
        if not name.isascii():
            tls.failure = "malformed server name"
            return openssl.SSL_CLIENT_HELLO_ERROR
        tls.server_name = name.decode("ascii").lower().rstrip(".")
    server: TlsServer = tls.server
    found = None
    if server.challenges is not None and asks_challenge(ssl):
        found = server.challenges.get(tls.server_name)
        tls.challenge = found is not None
    if found is None:
        found = server.find(tls.server_name)
    if found is None:
        tls.failure = "no certificate for the server name" if tls.server_name else "no server name"
        return openssl.SSL_CLIENT_HELLO_ERROR
    identity = cython.cast(TlsIdentity, found)
    tls.identity = identity
    identity.prepare(ssl)
    return openssl.SSL_CLIENT_HELLO_SUCCESS


@cython.cfunc
@cython.exceptval(check=False)
def asks_challenge(ssl: cython.pointer(openssl.SSL)) -> cython.bint:
    """Whether acme-tls/1 is all that the client speaks."""
    p: cython.pointer(cython.const[cython.uchar]) = cython.NULL
    n: cython.size_t = 0
    w: cython.p_char = ACME_TLS
    if not openssl.SSL_client_hello_get0_ext(
        ssl, openssl.TLSEXT_TYPE_application_layer_protocol_negotiation, cython.address(p), cython.address(n)
    ):
        return False
    return n == 13 and p[0] == 0 and p[1] == 11 and not memcmp(p + 2, w, 11)


@cython.cfunc
@cython.exceptval(check=False)
def on_server_name(ssl: cython.pointer(openssl.SSL), alert: cython.p_int, nothing: cython.p_void) -> cython.int:
    return openssl.SSL_TLSEXT_ERR_OK


@cython.cfunc
@cython.exceptval(check=False)
def on_certificate(ssl: cython.pointer(openssl.SSL), nothing: cython.p_void) -> cython.int:
    tls: Tls = cython.cast(Tls, openssl.SSL_get_ex_data(ssl, 0))
    if tls.identity is None:
        return 0
    if not cython.cast(TlsIdentity, tls.identity).show(ssl):
        tls.note_failure()
        return 0
    return 1


@cython.cfunc
@cython.exceptval(check=False)
def on_alpn(
    ssl: cython.pointer(openssl.SSL),
    out: cython.pointer(cython.pointer(cython.const[cython.uchar])),
    out_len: cython.pointer(cython.uchar),
    offered: cython.pointer(cython.const[cython.uchar]),
    n: cython.uint,
    nothing: cython.p_void,
) -> cython.int:
    tls: Tls = cython.cast(Tls, openssl.SSL_get_ex_data(ssl, 0))
    if tls.challenge and chosen(out, out_len, offered, n, ACME_TLS):
        return openssl.SSL_TLSEXT_ERR_OK
    if tls.http2 and chosen(out, out_len, offered, n, H2):
        return openssl.SSL_TLSEXT_ERR_OK
    if chosen(out, out_len, offered, n, HTTP_1_1):
        return openssl.SSL_TLSEXT_ERR_OK
    tls.failure = "no application protocol in common"
    return openssl.SSL_TLSEXT_ERR_ALERT_FATAL


@cython.cfunc
@cython.exceptval(check=False)
def chosen(
    out: cython.pointer(cython.pointer(cython.const[cython.uchar])),
    out_len: cython.pointer(cython.uchar),
    offered: cython.pointer(cython.const[cython.uchar]),
    n: cython.uint,
    wanted: bytes,
) -> cython.bint:
    """Whether the client offers it (a length byte and the name); then it is the answer."""
    i: cython.uint = 0
    w: cython.p_char = wanted
    k: cython.uint = cython.cast(cython.uint, len(wanted))
    while i < n:
        if i + k <= n and not memcmp(offered + i, w, k):
            out[0] = offered + i + 1
            out_len[0] = cython.cast(cython.uchar, k - 1)
            return True
        i += 1 + offered[i]
    return False


@cython.cfunc
@cython.exceptval(check=False)
def on_status(ssl: cython.pointer(openssl.SSL), nothing: cython.p_void) -> cython.int:
    tls: Tls = cython.cast(Tls, openssl.SSL_get_ex_data(ssl, 0))
    if tls.identity is not None and cython.cast(TlsIdentity, tls.identity).staple(ssl):
        return openssl.SSL_TLSEXT_ERR_OK
    return openssl.SSL_TLSEXT_ERR_NOACK


@cython.cfunc
@cython.exceptval(check=False)
def on_new_session(ssl: cython.pointer(openssl.SSL), session: cython.pointer(openssl.SSL_SESSION)) -> cython.int:
    """Keeps it for all processes. 0: it stays OpenSSL's."""
    tls: Tls = cython.cast(Tls, openssl.SSL_get_ex_data(ssl, 0))
    server: TlsServer = tls.server
    k: cython.uint = 0
    id: cython.pointer(cython.const[cython.uchar]) = openssl.SSL_SESSION_get_id(session, cython.address(k))
    n: cython.int = openssl.i2d_SSL_SESSION(session, cython.NULL)
    text: bytes
    p: cython.pointer(cython.uchar)
    if n <= 0 or k == 0:
        return 0
    text = PyBytes_FromStringAndSize(cython.NULL, n)
    p = cython.cast(cython.pointer(cython.uchar), cython.cast(cython.p_char, text))
    if openssl.i2d_SSL_SESSION(session, cython.address(p)) == n:
        server.sessions.put(cython.cast(cython.p_const_char, id)[:k], text, SESSION_S)
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def on_get_session(
    ssl: cython.pointer(openssl.SSL),
    id: cython.pointer(cython.const[cython.uchar]),
    n: cython.int,
    copy: cython.p_int,
) -> cython.pointer(openssl.SSL_SESSION):
    tls: Tls = cython.cast(Tls, openssl.SSL_get_ex_data(ssl, 0))
    server: TlsServer = tls.server
    p: cython.pointer(cython.const[cython.uchar])
    copy[0] = 0
    found = server.sessions.get(cython.cast(cython.p_const_char, id)[:n]) if 0 < n <= 32 else None
    if found is None:
        return cython.NULL
    text: bytes = found
    p = cython.cast(cython.pointer(cython.const[cython.uchar]), cython.cast(cython.p_char, text))
    return openssl.d2i_SSL_SESSION(cython.NULL, cython.address(p), len(text))


@cython.cfunc
@cython.exceptval(check=False)
def on_ticket(
    ssl: cython.pointer(openssl.SSL),
    name: cython.pointer(cython.uchar),
    iv: cython.pointer(cython.uchar),
    cipher: cython.pointer(openssl.EVP_CIPHER_CTX),
    mac: cython.pointer(openssl.EVP_MAC_CTX),
    encrypt: cython.int,
) -> cython.int:
    """Keys for a ticket. 0: none fits, a full handshake follows; 2: an older one fits, a new ticket follows."""
    params: openssl.OSSL_PARAM[3]
    tls: Tls = cython.cast(Tls, openssl.SSL_get_ex_data(ssl, 0))
    server: TlsServer = tls.server
    period = int(time.time()) // TICKET_PERIOD_S
    result: cython.int = 1
    keys = server.ticket_keys(period)
    if not encrypt:
        asked = cython.cast(cython.p_char, name)[:16]
        if asked != keys[0]:
            keys = server.ticket_keys(period - 1)
            result = 2
            if asked != keys[0]:
                return 0
    aes: bytes = keys[1]
    key: bytes = keys[2]
    if encrypt:
        memcpy(name, cython.cast(cython.p_char, cython.cast(bytes, keys[0])), 16)
        if openssl.RAND_bytes(iv, 16) != 1:
            return -1
    if (
        openssl.EVP_CipherInit_ex(
            cipher,
            openssl.EVP_aes_256_cbc(),
            cython.NULL,
            cython.cast(cython.pointer(cython.uchar), cython.cast(cython.p_char, aes)),
            iv,
            encrypt,
        )
        != 1
    ):
        return -1
    params[0] = openssl.OSSL_PARAM_construct_octet_string(b"key", cython.cast(cython.p_char, key), 32)
    params[1] = openssl.OSSL_PARAM_construct_utf8_string(b"digest", b"sha256", 0)
    params[2] = openssl.OSSL_PARAM_construct_end()
    return result if openssl.EVP_MAC_CTX_set_params(mac, params) == 1 else -1
