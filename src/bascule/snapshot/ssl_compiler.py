"""From an `ssls` item to what is served: references resolved, pairs checked."""

from __future__ import annotations

from typing import Any

from bascule.match.regex import compile_regex
from bascule.model.change import Change
from bascule.model.ssl import OBTAINED, Ssl
from bascule.snapshot.certificates import check_ssl
from bascule.snapshot.compiled_ssl import CompiledSsl
from bascule.snapshot.faults import Faults
from bascule.snapshot.item_check import validated
from bascule.snapshot.records import SslRecord
from bascule.snapshot.references import Resolver


class SslCompiler:
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def compile(self, change: Change, packed: bytes, previous: SslRecord | None, faults: Faults) -> SslRecord | None:
        """The same object as in `previous` where nothing changed: sessions and parsed certificates stay with it."""
        conf = validated(Ssl, change, faults)
        if conf is None:
            return None
        replaced = self._resolver.replace(_referring(conf))
        for parts, sentence in replaced.faults:
            faults.add(parts, sentence)
        if faults:
            return None
        resolved = _with(conf, replaced.value)
        check_ssl(resolved, faults)
        if faults:
            return None
        ssl = None if replaced.open else compiled(resolved, change.id)
        if previous is not None and previous.ssl == ssl:
            ssl = previous.ssl
        return SslRecord(packed=packed, file=change.file, line=change.line, ssl=ssl)


def compiled(conf: Ssl, id: str) -> CompiledSsl:
    names = conf.snis or ((conf.sni,) if conf.sni else ())
    client = conf.client
    stapling = conf.ocsp_stapling
    return CompiledSsl(
        id=id,
        names=tuple(name.lower().rstrip(".") for name in names) if conf.type == "server" else (),
        pairs=((conf.cert, conf.key), *zip(conf.certs or (), conf.keys or (), strict=True)),
        protocols=conf.ssl_protocols or (),
        ciphers=conf.ssl_ciphers,
        ciphersuites=conf.ssl_ciphersuites,
        client_ca=None if client is None else client.ca,
        depth=1 if client is None else client.depth,
        skip=tuple(compile_regex(pattern) for pattern in (client and client.skip_mtls_uri_regex) or ()),
        staples=stapling is not None and stapling.enabled,
        updated=-1 if id.startswith(OBTAINED) else conf.update_time or 0,  # a written item goes before
        enabled=conf.status == 1,
    )


def _referring(conf: Ssl) -> dict[str, Any]:
    """What may hold references."""
    found: dict[str, Any] = {"cert": conf.cert, "key": conf.key}
    if conf.certs:
        found |= {"certs": list(conf.certs), "keys": list(conf.keys or ())}
    if conf.client is not None:
        found["client"] = {"ca": conf.client.ca}
    return found


def _with(conf: Ssl, values: dict[str, Any]) -> Ssl:
    update: dict[str, Any] = {"cert": values["cert"], "key": values["key"]}
    if "certs" in values:
        update |= {"certs": tuple(values["certs"]), "keys": tuple(values["keys"])}
    if conf.client is not None:
        update["client"] = conf.client.model_copy(update=values["client"])
    return conf.model_copy(update=update)
