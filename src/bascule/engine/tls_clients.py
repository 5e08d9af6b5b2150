"""Client certificates (mTLS): may this request be served on this connection?"""

from __future__ import annotations

from typing import Any

from bascule.snapshot.compiled_ssl import CompiledSsl
from bascule.snapshot.sni_table import SniTable


def client_problem(tls: Any, sni: SniTable, host: str, path: bytes) -> str | None:
    """None, or why not. A connection that was opened for one name must not be used to get around what another name
    asks for."""
    shown: CompiledSsl = tls.identity.source
    wanted = sni.find(host) if host else None
    if wanted is not None and wanted.client_ca is not None and wanted.id != shown.id and not _skips(wanted, path):
        return f"{host} needs a client certificate, and the connection was opened for {tls.server_name or 'no name'}"
    if shown.client_ca is None or _skips(shown, path):
        return None
    if not tls.shown:
        return "the client showed no certificate"
    if tls.verify_error:
        return f"the client's certificate isn't trusted: {tls.verify_error}"
    return None


def _skips(ssl: CompiledSsl, path: bytes) -> bool:
    return bool(ssl.skip) and any(pattern.search(path.decode("latin-1")) for pattern in ssl.skip)
