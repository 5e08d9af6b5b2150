from bascule.control.acme.challenges import Challenge, answered


def test_http() -> None:
    pending = [Challenge("a.test", "T1", "T1.print"), Challenge("b.test", "T2", "T2.print")]
    found = answered(pending, "http-01")
    assert found.answers == {
        b"/.well-known/acme-challenge/T1": b"T1.print",
        b"/.well-known/acme-challenge/T2": b"T2.print",
    }
    assert found.certificates == {}


def test_tls() -> None:
    found = answered([Challenge("a.test", "T1", "T1.print")], "tls-alpn-01")
    assert found.answers == {}
    certificate, key = found.certificates["a.test"]
    assert certificate.startswith("-----BEGIN CERTIFICATE-----\n")
    assert key.startswith("-----BEGIN PRIVATE KEY-----\n")
