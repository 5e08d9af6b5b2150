from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from bascule.control.ocsp import OcspFailure, judge, question
from tests.servers.certificates import Certificates
from tests.servers.ocsp import OcspResponder, Signer, delegate


@pytest.fixture
def responder(tmp_path: Path) -> Iterator[OcspResponder]:
    made = OcspResponder(Certificates(tmp_path))
    yield made
    made.stop()


def judged(responder: OcspResponder, *, skip_verify: bool = False, now: datetime | None = None) -> datetime | None:
    asked = question(responder.issue("a", ("a.test",))["cert"])
    body = responder.response(asked.serial)
    return judge(asked, body, now or datetime.now(UTC), skip_verify=skip_verify)


def test_what_is_asked(responder: OcspResponder) -> None:
    chain = responder.issue("a")["cert"]
    asked = question(chain)
    assert asked.url == responder.url
    assert ocsp.load_der_ocsp_request(asked.body).serial_number == asked.serial
    assert asked.serial == x509.load_pem_x509_certificate(chain.encode()).serial_number


def test_what_cannot_be_asked(responder: OcspResponder) -> None:
    chain = responder.issue("a")["cert"]
    alone = chain[: chain.index("-----END CERTIFICATE-----") + 26]
    plain = responder.authority.server.cert.read_text() + responder.authority.ca.cert.read_text()
    for text, why in (
        (alone, "the issuer's certificate doesn't follow"),
        (plain, "names no responder"),
        ("x", "can't be read"),
    ):
        with pytest.raises(OcspFailure, match=why):
            question(text)


def test_good_answers(responder: OcspResponder) -> None:
    until = judged(responder)
    assert until is not None
    assert timedelta(minutes=50) < until - datetime.now(UTC) < timedelta(minutes=70)
    responder.signer = delegate(responder.authority, ExtendedKeyUsageOID.OCSP_SIGNING)
    assert judged(responder) is not None


@pytest.mark.parametrize("status", [ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN])
def test_a_status_that_isnt_good(status: ocsp.OCSPCertStatus, responder: OcspResponder) -> None:
    responder.status = status
    with pytest.raises(OcspFailure, match=f"the certificate is {status.name.lower()}"):
        judged(responder)
    assert judged(responder, skip_verify=True) is not None


@pytest.mark.parametrize(
    ("shift", "why"), [(timedelta(hours=2), "isn't valid any more"), (timedelta(hours=-3), "isn't valid yet")]
)
def test_times(shift: timedelta, why: str, responder: OcspResponder) -> None:
    now = datetime.now(UTC) + shift
    with pytest.raises(OcspFailure, match=why):
        judged(responder, now=now)
    assert judged(responder, now=now, skip_verify=True)


def test_who_may_not_sign(responder: OcspResponder, tmp_path: Path) -> None:
    others = Certificates(tmp_path / "others")
    for signer in (
        delegate(responder.authority, ExtendedKeyUsageOID.SERVER_AUTH),
        delegate(others, ExtendedKeyUsageOID.OCSP_SIGNING),
        Signer(others.ca_certificate, others.ca_key),
    ):
        responder.signer = signer
        with pytest.raises(OcspFailure, match="isn't signed by the issuer"):
            judged(responder)


def test_junk(responder: OcspResponder) -> None:
    asked, other = question(responder.issue("a")["cert"]), question(responder.issue("b")["cert"])
    now = datetime.now(UTC)
    with pytest.raises(OcspFailure, match="another certificate"):
        judge(asked, responder.response(other.serial), now, skip_verify=False)
    with pytest.raises(OcspFailure, match="says unauthorized"):
        judge(asked, responder.response(1), now, skip_verify=True)
    for junk in (b"", b"x" * 100, responder.response(asked.serial)[:-20]):
        with pytest.raises(OcspFailure, match="can't be read"):
            judge(asked, junk, now, skip_verify=True)
