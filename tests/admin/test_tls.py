from pathlib import Path

import pytest

from bascule.admin.tls import admin_tls
from bascule.errors.config_error import ConfigRefused
from bascule.model.admin_settings import Admin


def test_plain_http_unless_it_is_asked_for() -> None:
    assert admin_tls(Admin()) is None


def test_what_lacks_or_can_t_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="needs admin_ssl_cert"):
        admin_tls(Admin.model_validate({"https_admin": True}))
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    files = {"admin_ssl_cert": str(junk), "admin_ssl_cert_key": str(junk)}
    with pytest.raises(ConfigRefused, match="can't be used"):
        admin_tls(Admin.model_validate({"https_admin": True, "admin_api_mtls": files}))
