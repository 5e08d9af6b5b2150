from typing import Any

import pytest

from bascule.engine.tls_servers import TlsClients, bare_host
from bascule.snapshot.compiled_upstream import ClientTls
from tests.servers.certificates import Certificates


class Resolving:
    """As much of Tables as is asked for."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def resolved(self, text: str) -> str | None:
        return self.answers.get(text)

    def client_certificate(self, id: str) -> Any:
        return None


def test_one_for_the_same_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    authority = Certificates(tmp_path_factory.mktemp("certs"))
    ca = authority.ca.cert.read_text()
    clients, tables = TlsClients("system"), Resolving({"$env://CA": ca})
    plain = clients.client(ClientTls(), tables)  # type: ignore[arg-type]
    assert not plain.verify
    assert clients.client(ClientTls(), tables) is plain  # type: ignore[arg-type]
    trusting = clients.client(ClientTls(ca=ca), tables)  # type: ignore[arg-type]
    assert trusting.verify  # a CA is known
    assert clients.client(ClientTls(ca="$env://CA"), tables) is trusting  # type: ignore[arg-type]
    assert not clients.client(ClientTls(verify=False, ca=ca), tables).verify  # type: ignore[arg-type]
    assert TlsClients(str(authority.ca.cert)).client(ClientTls(), tables).verify  # type: ignore[arg-type]


def test_what_is_missing_is_told() -> None:
    clients, tables = TlsClients("system"), Resolving({})
    with pytest.raises(ValueError, match=r"tls.ca_certs: \$env://CA can't be resolved"):
        clients.client(ClientTls(ca="$env://CA"), tables)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='there is no client certificate "1" in ssls'):
        clients.client(ClientTls(cert_id="1"), tables)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "name"), [("A.test:80", "a.test"), ("a.test", "a.test"), ("[::1]:80", "::1"), ("::1", "::1"), ("", "")]
)
def test_bare_host(host: str, name: str) -> None:
    assert bare_host(host) == name
