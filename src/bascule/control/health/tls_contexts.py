"""TLS towards nodes that are probed: a context for each way of trusting them and showing oneself, made once."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

from bascule.control.health.probe import Probe
from bascule.model.upstream import UpstreamTls
from bascule.snapshot.references import Unresolved, is_reference

KEPT = 256
Pair = tuple[str, str]  # certificate, key: PEM texts
_VERSIONS = {
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


class Unusable(Exception):
    """What the upstream's `tls` says can't be used."""


class TlsContexts:
    """`trusted`: a file of CAs, or "system"; `resolve` answers references; `client_pair` gives the certificate and key
    of an `ssls` item for clients, or None."""

    def __init__(
        self,
        trusted: str,
        resolve: Callable[[str], str | Unresolved],
        client_pair: Callable[[str], Pair | None],
    ) -> None:
        self._trusted = trusted
        self._resolve = resolve
        self._client_pair = client_pair
        self._made: dict[object, ssl.SSLContext] = {}

    def __repr__(self) -> str:
        return f"<TLS contexts {len(self._made)}>"

    def context(self, probe: Probe) -> ssl.SSLContext:
        """Raises Unusable."""
        tls = probe.tls
        verify = probe.check.https_verify_certificate
        ca = None if tls is None or tls.ca_certs is None else self._text(tls.ca_certs, "ca_certs")
        pair = None if tls is None else self._pair(tls)
        versions = () if tls is None else tls.ssl_protocols or ()
        protocol = "h2" if probe.check.type == "grpc" else "http/1.1"
        key = (verify, ca, pair, versions, protocol)
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= KEPT:
                self._made.clear()
            made = self._made[key] = self._make(verify, ca, pair, versions, protocol)
        return made

    def _make(
        self, verify: bool, ca: str | None, pair: Pair | None, versions: tuple[str, ...], protocol: str
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if versions:
            known = [_VERSIONS[version] for version in versions]
            context.minimum_version, context.maximum_version = min(known), max(known)
        else:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([protocol])
        try:
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            elif ca is not None:
                context.load_verify_locations(cadata=ca)
            elif self._trusted == "system":
                context.load_default_certs()
            else:
                context.load_verify_locations(cafile=self._trusted)
        except (OSError, ValueError) as error:
            where = self._trusted if ca is None else "tls.ca_certs"
            raise Unusable(f"{where} can't be used: {error}") from None
        if pair is not None:
            _show(context, pair)
        return context

    def _pair(self, tls: UpstreamTls) -> Pair | None:
        if tls.client_cert_id is not None:
            found = self._client_pair(tls.client_cert_id)
            if found is None:
                raise Unusable(f'tls.client_cert_id: there is no client certificate "{tls.client_cert_id}" in ssls')
            cert, key = found
        elif tls.client_cert is not None and tls.client_key is not None:
            cert, key = tls.client_cert, tls.client_key
        else:
            return None
        return self._text(cert, "client_cert"), self._text(key, "client_key")

    def _text(self, text: str, name: str) -> str:
        if not is_reference(text):
            return text
        found = self._resolve(text)
        if isinstance(found, Unresolved):
            raise Unusable(f"tls.{name}: {found.sentence}")
        return found


def _show(context: ssl.SSLContext, pair: Pair) -> None:
    """The module ssl reads keys from files only: these are in memory, and no other user can open them."""
    fds: list[int] = []
    try:
        for text in pair:
            fds.append(os.memfd_create("health check"))
            os.write(fds[-1], text.encode())
        cert, key = (f"/proc/self/fd/{fd}" for fd in fds)
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise Unusable(f"the client certificate can't be used: {error}") from None
    finally:
        for fd in fds:
            os.close(fd)


def _no_password() -> str:
    """Instead of asking the terminal for one."""
    return ""
