from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bascule.store.durable_file import FileLock, Locked, create_file, make_file, make_folder, replace_file

OWNER = """
import sys
from pathlib import Path
from bascule.store.durable_file import FileLock
lock = FileLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_lock_is_held_once_and_names_its_owner(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(Locked, match=f"in use by process {os.getpid()}"):
        FileLock(tmp_path / "lock")
    lock.release()
    FileLock(tmp_path / "lock").release()
    assert mode(tmp_path / "lock") == 0o600


def test_a_lock_ends_with_a_killed_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(Locked) as locked:
            FileLock(tmp_path / "lock")
        assert locked.value.owner == owner.pid
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    FileLock(tmp_path / "lock").release()


def test_a_lock_whose_owner_left_no_id(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    (tmp_path / "lock").write_text("")
    with pytest.raises(Locked, match=r"^in use$"):
        FileLock(tmp_path / "lock")
    lock.release()


def test_folders_are_made_for_us_alone_with_those_above(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    make_folder(tmp_path / "open")
    assert mode(tmp_path / "open") == 0o755
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        make_folder(tmp_path / "file" / "below")


def test_a_file_is_made_once(tmp_path: Path) -> None:
    make_file(tmp_path / "new")
    assert mode(tmp_path / "new") == 0o600
    (tmp_path / "new").write_text("kept")
    make_file(tmp_path / "new")
    assert (tmp_path / "new").read_text() == "kept"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_replacement_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (target / "below").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        replace_file(target, b"new")
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_created_whole_or_not_at_all(tmp_path: Path) -> None:
    create_file(tmp_path / "file", b"first")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert mode(tmp_path / "file") == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
