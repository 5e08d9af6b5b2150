"""What the authority's answers come to; whole certificates are obtained in test_keeper.py."""

from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest

from bascule.control.acme.authority import AcmeFailure, Authority
from bascule.control.acme.certificate_folder import CertificateFolder
from bascule.model.acme_settings import AcmeSection
from tests.servers.acme import AcmeServer, Problem
from tests.servers.certificates import Certificates


class Stand:
    def __init__(self, folder: Path) -> None:
        self.certificates = Certificates(folder / "authority")
        self.server = AcmeServer(self.certificates)
        self.folder = CertificateFolder(folder / "acme")

    def authority(self, **options: object) -> Authority:
        values = {"directory": self.server.directory, "agree_to_terms": True, "names": ["a.test"], **options}
        section = AcmeSection.model_validate(values)
        return Authority(section, self.folder, str(self.certificates.ca.cert), "tests")


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    yield made
    made.server.stop()


def test_an_order_says_what_is_to_be_answered(stand: Stand) -> None:
    order = stand.authority().order(["a.test", "b.test"])
    assert [one.name for one in order.pending] == ["a.test", "b.test"]
    account = stand.server.accounts[0]
    assert all(one.authorization == f"{one.token}.{account.thumbprint}" for one in order.pending)


def test_one_account_for_all_and_for_the_next_start(stand: Stand) -> None:
    first = stand.authority()
    first.order(["a.test"])
    first.order(["b.test"])
    stand.authority().order(["c.test"])
    assert len(stand.server.accounts) == 1
    stand.authority(email="ops@a.test").order(["c.test"])
    assert [account.contact for account in stand.server.accounts] == [["mailto:ops@a.test"]]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [("77", 77.0), ("in two hours, as a date", 7200.0), ("soon", None), ("9" * 400, 691200.0), (None, None)],
)
def test_how_long_it_wants_to_be_left_alone(said: str | None, wanted: float | None, stand: Stand) -> None:
    if wanted == 7200.0:
        said = formatdate(time() + 7200, usegmt=True)
    headers = {} if said is None else {"Retry-After": said}
    stand.server.refusals.append(("/new-order", Problem("rateLimited", "too many", 429, headers)))
    with pytest.raises(AcmeFailure, match=r"^the authority refuses: rateLimited: too many$") as failure:
        stand.authority().order(["a.test"])
    assert failure.value.retry_after_s == (None if wanted is None else pytest.approx(wanted, abs=120))


def test_a_challenge_that_is_not_offered(stand: Stand) -> None:
    stand.server.offers = ("dns-01",)
    with pytest.raises(AcmeFailure, match=r"^a\.test: the authority offers no http-01, only dns-01$"):
        stand.authority().order(["a.test"])


def test_an_external_account_is_needed(stand: Stand) -> None:
    stand.server.bindings["me"] = "c2VjcmV0"
    with pytest.raises(AcmeFailure, match="externalAccountRequired: an external account is needed"):
        stand.authority().order(["a.test"])


@pytest.mark.parametrize("text", ["nonsense", "{}", "[]", '{"newNonce": 1}'])
def test_what_is_no_acme(text: str, stand: Stand) -> None:
    stand.server.directory_text = text
    with pytest.raises(AcmeFailure, match="what the authority answers is no ACME"):
        stand.authority().order(["a.test"])


def test_a_damaged_account_is_told(stand: Stand, tmp_path: Path) -> None:
    stand.authority().order(["a.test"])
    (tmp_path / "acme/account.json").write_text("{}")
    with pytest.raises(AcmeFailure, match=r"account\.json holds no account"):
        stand.authority().order(["a.test"])


def test_a_server_that_hangs_up(stand: Stand) -> None:
    stand.server.stop()
    with pytest.raises(AcmeFailure, match="can't be asked: "):
        stand.authority().order(["a.test"])
