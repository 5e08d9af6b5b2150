from pathlib import Path

import pytest

from bascule.control.acme.certificate_folder import CertificateFolder, folder_of, read_pair
from tests.servers.certificates import Certificates


def test_a_certificate_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    pair = Certificates(tmp_path / "certs").issue("one", ("a.test", "b.test"))
    obtained = read_pair(pair.cert.read_text(), pair.key.read_text())
    assert obtained.names == ("a.test", "b.test")
    assert obtained.until - obtained.since == 25 * 3600
    folder = CertificateFolder(tmp_path / "data" / "acme")
    assert folder.read("a.test") is None
    folder.write("a.test", obtained)
    assert folder.read("a.test") == obtained
    assert (tmp_path / "data/acme/a.test.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data/acme").stat().st_mode & 0o777 == 0o700


def test_a_damaged_certificate_counts_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Certificates(tmp_path / "certs")
    one, two = authority.issue("one", ("a.test",)), authority.issue("two", ("a.test",))
    folder = CertificateFolder(tmp_path)
    for text in ("", "nonsense", one.cert.read_text(), two.key.read_text() + one.cert.read_text()):
        (tmp_path / "a.test.pem").write_text(text)
        caplog.clear()
        assert folder.read("a.test") is None
        assert f"{tmp_path}/a.test.pem holds no certificate with its key" in caplog.text
    (tmp_path / "a.test.pem").unlink()
    (tmp_path / "a.test.pem").mkdir()
    assert folder.read("a.test") is None
    assert "can't be read: is a directory" in caplog.text


def test_an_account(tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path / "acme")
    assert folder.read_account() is None
    folder.write_account({"key": "x", "uri": "y"})
    assert folder.read_account() == {"key": "x", "uri": "y"}
    assert (tmp_path / "acme/account.json").stat().st_mode & 0o777 == 0o600
    for text in ("{}", "nonsense", "[1]"):
        (tmp_path / "acme/account.json").write_text(text)
        with pytest.raises(ValueError, match=r"account\.json holds no account: remove it"):
            folder.read_account()


def test_each_authority_has_a_folder(tmp_path: Path) -> None:
    one, two = (folder_of(tmp_path, f"https://ca.test/{path}/directory") for path in ("staging", "production"))
    assert one != two
    assert one.parent == two.parent == tmp_path / "acme"
    assert one.name.startswith("ca.test-")
