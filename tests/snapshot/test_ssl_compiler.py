from typing import Any

import pytest

from bascule.model.change import Change
from bascule.snapshot.faults import Faults
from bascule.snapshot.records import SslRecord
from bascule.snapshot.references import Resolver, from_environment
from bascule.snapshot.ssl_compiler import SslCompiler
from tests.servers.certificates import Certificates


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certs"))


def compiled(
    value: dict[str, Any],
    environ: dict[str, str] | None = None,
    previous: SslRecord | None = None,
    checking: bool = False,
) -> tuple[SslRecord | None, list[Any]]:
    faults = Faults()
    compiler = SslCompiler(Resolver(from_environment(environ or {}), checking))
    return compiler.compile(Change("ssls", "1", value), b"", previous, faults), faults.found


def test_an_item(authority: Certificates) -> None:
    texts = authority.server.texts
    value = {
        "snis": ["A.test", "*.b.test"],
        **texts,
        "certs": [texts["cert"]],
        "keys": [texts["key"]],
        "client": {"ca": authority.ca.cert.read_text(), "depth": 2, "skip_mtls_uri_regex": ["^/x"]},
        "ssl_protocols": ["TLSv1.3"],
        "ocsp_stapling": {"enabled": True},
        "update_time": 5,
    }
    record, found = compiled(value)
    assert not found
    assert record
    ssl = record.ssl
    assert ssl
    assert (ssl.names, len(ssl.pairs), ssl.protocols) == (("a.test", "*.b.test"), 2, ("TLSv1.3",))
    assert (ssl.depth, [one.pattern for one in ssl.skip], ssl.staples, ssl.updated) == (2, ["^/x"], True, 5)
    again, _ = compiled(value, previous=record)
    assert again
    assert again.ssl is ssl  # with what the engine keeps on it


def test_references_are_resolved(authority: Certificates) -> None:
    texts = authority.server.texts
    value = {"sni": "a.test", "cert": "$env://CERT", "key": "$env://KEY"}
    record, found = compiled(value, {"CERT": texts["cert"], "KEY": texts["key"]})
    assert not found
    assert record
    assert record.ssl
    assert record.ssl.pairs == ((texts["cert"], texts["key"]),)


def test_a_reference_to_nothing_or_to_junk_is_told(authority: Certificates) -> None:
    texts = authority.server.texts
    value = {"sni": "a.test", "cert": texts["cert"], "key": "$env://KEY"}
    record, found = compiled(value)
    assert record is None
    assert [(fault.path, fault.sentence) for fault in found] == [
        ("$.key", "$env://KEY can't be resolved: there is no such environment variable")
    ]
    record, found = compiled(value, {"KEY": "junk"})
    assert record is None
    assert [fault.path for fault in found] == ["$.key"]
    other = authority.client.key.read_text()
    record, found = compiled(value, {"KEY": other})
    assert [fault.sentence for fault in found] == ["doesn't belong to the certificate"]


def test_a_secret_that_only_workers_know_is_left_open(authority: Certificates) -> None:
    value = {"sni": "a.test", "cert": authority.server.texts["cert"], "key": "$secret://vault/1/key"}
    record, found = compiled(value, checking=True)
    assert not found
    assert record
    assert record.ssl is None


def test_one_for_upstreams_has_no_names(authority: Certificates) -> None:
    record, found = compiled({"type": "client", **authority.client.texts})
    assert not found
    assert record
    assert record.ssl
    assert record.ssl.names == ()
