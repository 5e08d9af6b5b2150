"""Files and folders that survive a power cut, and locks on files that don't survive their owner."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


class Locked(Exception):
    """Another process owns the file. `owner`: its process id, None when it can't be told."""

    def __init__(self, owner: int | None) -> None:
        super().__init__("in use" if owner is None else f"in use by process {owner}")
        self.owner = owner


class FileLock:
    """Held from its making to `release`, or to the end of the process, however it ends.

    The file itself stays: a lock on a file that is unlinked and made anew would be held twice.
    Raises Locked, OSError."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._fd, 32).strip()
            os.close(self._fd)
            raise Locked(int(owner) if owner.isdigit() else None) from None
        except OSError:
            os.close(self._fd)
            raise
        with contextlib.suppress(OSError):  # the id is only for the sentence of the next one: a full disk may lack it
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        os.close(self._fd)


def make_folder(folder: Path) -> None:
    """With those above it, as far as they are missing; ours alone. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    sync_folder(folder.parent)


def make_file(path: Path) -> None:
    """Empty, ours alone, unless it exists. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in it is there after a power cut. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Readers see the old text or the new one, whole, whatever happens meanwhile. Mode 0600. Raises OSError. `data`:
    whole, or in parts."""
    _write(path, data, os.replace)


def create_file(path: Path, data: bytes) -> None:
    """As `replace_file`, but raises FileExistsError when it exists: of several that try at once, one makes it."""
    _write(path, data, os.link)


def _write(path: Path, data: bytes | Iterable[bytes], name: Callable[[str, Path], None]) -> None:
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with open(fd, "wb") as file:
            file.writelines((data,) if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        name(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    sync_folder(path.parent)
