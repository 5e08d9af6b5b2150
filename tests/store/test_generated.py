from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from bascule.store.generated import SecretFileRefused, admin_key, keyring
from bascule.store.sealing import Sealer


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    key, new = admin_key(folder)
    assert new
    assert len(key) >= 32
    assert key.replace("-", "").replace("_", "").isalnum()
    assert admin_key(folder) == (key, False)
    assert admin_key(tmp_path / "other")[0] != key
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "admin.key").stat().st_mode & 0o777 == 0o600
    assert os.listdir(folder) == ["admin.key"]


def test_a_keyring_is_made_once_and_fits_the_sealer(tmp_path: Path) -> None:
    (entry,) = keyring(tmp_path)
    assert len(entry) == 32
    assert keyring(tmp_path) == (entry,)
    Sealer((entry,), lambda name: (), True)


def test_a_keyring_may_have_older_entries_below(tmp_path: Path) -> None:
    first = keyring(tmp_path)[0]
    (tmp_path / "keyring").write_text(f"edd1c9f0985e76a2\n{first}\n")
    assert keyring(tmp_path) == ("edd1c9f0985e76a2", first)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o620])
def test_a_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    admin_key(tmp_path)
    keyring(tmp_path)
    for name, read in (("admin.key", admin_key), ("keyring", keyring)):
        (tmp_path / name).chmod(mode)
        with pytest.raises(SecretFileRefused, match=rf"{name} is open to other users \(mode {mode:04o}\): chmod 600"):
            read(tmp_path)


@pytest.mark.parametrize("text", ["", "\n", "two words", "ключ"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, text: str) -> None:
    admin_key(tmp_path)
    (tmp_path / "admin.key").write_text(text)
    with pytest.raises(SecretFileRefused, match=r"admin\.key holds no key"):
        admin_key(tmp_path)


@pytest.mark.parametrize("text", ["", "short", "edd1c9f0985e76a2\nshort"])
def test_a_file_without_a_keyring_is_refused_not_replaced(tmp_path: Path, text: str) -> None:
    keyring(tmp_path)
    (tmp_path / "keyring").write_text(text)
    with pytest.raises(SecretFileRefused, match="keyring must hold entries of 16 or 32 bytes"):
        keyring(tmp_path)
    assert (tmp_path / "keyring").read_text() == text


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretFileRefused, match=r"admin\.key can't be used: not a directory"):
        admin_key(tmp_path / "file" / "data")
    (tmp_path / "keyring").mkdir()
    with pytest.raises(SecretFileRefused, match="keyring can't be used: is a directory"):
        keyring(tmp_path)


def test_of_many_that_start_at_once_all_get_the_same_key(tmp_path: Path) -> None:
    found: list[tuple[str, bool]] = []
    start = threading.Barrier(8)

    def begin() -> None:
        start.wait()
        found.append(admin_key(tmp_path))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key for key, _ in found}) == 1
    assert [new for _, new in found].count(True) == 1
    assert os.listdir(tmp_path) == ["admin.key"]
