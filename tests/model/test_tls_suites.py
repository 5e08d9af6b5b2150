"""Names of TLS 1.3's cipher suites."""

import pytest

from bascule.errors.sentences import Refused
from bascule.model.tls_suites import SUITES, check_suites


def test_known_ones_and_others() -> None:
    for name in (*SUITES, ":".join(SUITES)):
        assert check_suites(name) == name
    for name in (
        "",
        "TLS_AES",
        "AES128-SHA",
        "TLS_AES_128_GCM_SHA256:",
        "TLS_AES_128_GCM_SHA256 TLS_AES_128_CCM_SHA256",
    ):
        with pytest.raises(Refused, match=r"TLS 1\.3"):
            check_suites(name)
