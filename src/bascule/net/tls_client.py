# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The client's side of TLS, towards upstreams: one OpenSSL context for each way of trusting and showing oneself."""

import ipaddress

import cython
from cython.cimports.bascule.net import openssl
from cython.cimports.bascule.net.tls import Tls
from cython.cimports.bascule.net.tls_identity import TlsIdentity, make_store

from bascule.net.tls_identity import VERSIONS, openssl_error

SESSIONS = 4096


@cython.cclass
class TlsSession:
    def __dealloc__(self):
        if self.session != cython.NULL:
            openssl.SSL_SESSION_free(self.session)


@cython.cclass
class TlsClient:
    """`verify`: servers must show a certificate for their name that `ca` (PEM text), else `trusted` vouches for: the
    path of a file, or "system". `pair`: the certificate chain and key that are shown (PEM text). Raises ValueError."""

    def __init__(self, *, verify=False, ca=None, trusted="system", pair=None, protocols=()):
        store: cython.pointer(openssl.X509_STORE) = cython.NULL
        identity: TlsIdentity
        self.verify = verify
        self.sessions = {}
        self.context = openssl.SSL_CTX_new(openssl.TLS_client_method())
        if self.context == cython.NULL:
            raise MemoryError
        openssl.SSL_CTX_set_mode(self.context, openssl.SSL_MODE_RELEASE_BUFFERS | openssl.SSL_MODE_NO_AUTO_CHAIN)
        openssl.SSL_CTX_set_options(
            self.context,
            openssl.SSL_OP_NO_RENEGOTIATION | openssl.SSL_OP_NO_COMPRESSION | openssl.SSL_OP_IGNORE_UNEXPECTED_EOF,
        )
        versions = {VERSIONS[protocol] for protocol in protocols or ("TLSv1.2", "TLSv1.3")}
        openssl.SSL_CTX_set_min_proto_version(self.context, min(versions))
        openssl.SSL_CTX_set_max_proto_version(self.context, max(versions))
        if len(versions) == 2 and VERSIONS["TLSv1.2"] not in versions:
            openssl.SSL_CTX_set_options(self.context, openssl.SSL_OP_NO_TLSv1_2)
        if min(versions) < VERSIONS["TLSv1.2"]:
            openssl.SSL_CTX_set_security_level(self.context, 0)
        openssl.SSL_CTX_set_session_cache_mode(
            self.context, openssl.SSL_SESS_CACHE_CLIENT | openssl.SSL_SESS_CACHE_NO_INTERNAL_STORE
        )
        openssl.SSL_CTX_sess_set_new_cb(self.context, on_session)
        if verify:
            if ca is not None:
                make_store(ca.encode(), cython.address(store))
            else:
                store = openssl.X509_STORE_new()
                if store == cython.NULL:
                    raise MemoryError
                if trusted == "system":
                    openssl.X509_STORE_set_default_paths(store)
                elif openssl.X509_STORE_load_file(store, trusted.encode()) != 1:
                    openssl.X509_STORE_free(store)
                    raise openssl_error(f"{trusted} can't be read")
            openssl.SSL_CTX_set_cert_store(self.context, store)
            openssl.SSL_CTX_set_verify(self.context, openssl.SSL_VERIFY_PEER, cython.NULL)
        if pair is not None:
            identity = TlsIdentity([pair])
            if (
                openssl.SSL_CTX_use_cert_and_key(
                    self.context, identity.certificates[0], identity.keys[0], identity.chains[0], 1
                )
                != 1
            ):
                raise openssl_error("the client certificate can't be used")

    def __dealloc__(self):
        if self.context != cython.NULL:
            openssl.SSL_CTX_free(self.context)

    @cython.cfunc
    @cython.exceptval(-1)
    def connect(self, tls: Tls, place: object, name: str, protocols: bytes) -> cython.int:
        """Makes tls the client's side of a new connection to `place` (whatever tells servers apart). `name` is asked
        for, and verified; an IP address is only verified. `protocols`: for ALPN, in wire form."""
        session: TlsSession
        known: object
        text: bytes = name.encode("ascii")
        tls.server = self
        tls.server_name = name
        tls.place = (place, name)
        tls.create(self.context)
        openssl.SSL_set_connect_state(tls.ssl)
        if is_address(name):
            if self.verify:
                openssl.X509_VERIFY_PARAM_set1_ip_asc(openssl.SSL_get0_param(tls.ssl), text)
        elif name:
            openssl.SSL_set_tlsext_host_name(tls.ssl, text)
            if self.verify:
                openssl.X509_VERIFY_PARAM_set1_host(openssl.SSL_get0_param(tls.ssl), text, len(text))
        openssl.SSL_set_alpn_protos(
            tls.ssl,
            cython.cast(cython.pointer(cython.uchar), cython.cast(cython.p_char, protocols)),
            cython.cast(cython.uint, len(protocols)),
        )
        known = self.sessions.pop(tls.place, None)  # tickets of TLS 1.3 are for one use
        if known is not None:
            session = cython.cast(TlsSession, known)
            openssl.SSL_set_session(tls.ssl, session.session)
        return 0


def is_address(name: str) -> bool:
    """Whether a name is an IP address: SNI knows none (RFC 6066)."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@cython.cfunc
@cython.exceptval(check=False)
def on_session(ssl: cython.pointer(openssl.SSL), session: cython.pointer(openssl.SSL_SESSION)) -> cython.int:
    """Keeps the newest session for the next connection. 1: it is ours now."""
    tls: Tls = cython.cast(Tls, openssl.SSL_get_ex_data(ssl, 0))
    client: TlsClient = cython.cast(TlsClient, tls.server)
    kept: TlsSession = TlsSession()
    kept.session = session
    if len(client.sessions) >= SESSIONS:
        client.sessions.clear()
    client.sessions[tls.place] = kept
    return 1
