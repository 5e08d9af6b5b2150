"""What TLS towards upstreams is made with: a context for each way of trusting servers and showing oneself."""

from __future__ import annotations

from typing import Any

from bascule.net.tls_client import TlsClient
from bascule.snapshot.compiled_upstream import ClientTls
from bascule.snapshot.tables import Tables

KEPT = 1024


class TlsClients:
    """`trusted`: apisix.ssl.ssl_trusted_certificate, a file or "system"."""

    def __init__(self, trusted: str) -> None:
        self._trusted = trusted
        self._made: dict[Any, TlsClient] = {}

    def client(self, tls: ClientTls, tables: Tables) -> TlsClient:
        """The same one for the same settings, so that sessions and pooled connections go on. Raises ValueError: what
        can't be used is not left out."""
        pair = _pair(tls, tables)
        ca = None if tls.ca is None else _text(tls.ca, "ca_certs", tables)
        known = ca is not None or self._trusted != "system"
        verify = known if tls.verify is None else tls.verify
        key = (verify, ca, pair, tls.protocols)
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= KEPT:
                self._made.clear()  # plans in use keep theirs
            made = TlsClient(verify=verify, ca=ca, trusted=self._trusted, pair=pair, protocols=tls.protocols)
            self._made[key] = made
        return made


def _pair(tls: ClientTls, tables: Tables) -> tuple[str, str] | None:
    if tls.cert_id is not None:
        found = tables.client_certificate(tls.cert_id)
        if found is None:
            raise ValueError(f'tls.client_cert_id: there is no client certificate "{tls.cert_id}" in ssls')
        return found.pairs[0]
    if tls.cert is None or tls.key is None:
        return None
    return _text(tls.cert, "client_cert", tables), _text(tls.key, "client_key", tables)


def _text(text: str, name: str, tables: Tables) -> str:
    resolved = tables.resolved(text) if text.startswith("$") else text
    if resolved is None:
        raise ValueError(f"tls.{name}: {text} can't be resolved")
    return resolved


def bare_host(host: str) -> str:
    """A Host value without its port, lower-case; an IPv6 address without brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() and ":" not in name else host).lower()
