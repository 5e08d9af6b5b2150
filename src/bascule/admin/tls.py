"""https for the Admin API, with client certificates if a CA is given."""

from __future__ import annotations

import ssl

from bascule.errors.config_error import ConfigError, ConfigRefused
from bascule.model.admin_settings import Admin


def admin_tls(admin: Admin) -> ssl.SSLContext | None:
    """None: plain http. Raises ConfigRefused when a file of it can't be used."""
    if not admin.https_admin:
        return None
    files = admin.admin_api_mtls
    path = "$.deployment.admin.admin_api_mtls"
    if not files.admin_ssl_cert or not files.admin_ssl_cert_key:
        raise _refused(path, "https_admin needs admin_ssl_cert and admin_ssl_cert_key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(files.admin_ssl_cert, files.admin_ssl_cert_key)
        if files.admin_ssl_ca_cert:
            context.load_verify_locations(files.admin_ssl_ca_cert)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise _refused(path, f"a certificate or key can't be used: {error}") from None
    return context


def _refused(path: str, sentence: str) -> ConfigRefused:
    return ConfigRefused([ConfigError("", None, path, sentence)])
