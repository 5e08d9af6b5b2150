"""Secrets that are made at the first start and kept beside the store, readable by their owner alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from bascule.store.durable_file import create_file, make_folder

_OTHERS = 0o077
_ENTRY_LENGTHS = (16, 32)


class SecretFileRefused(Exception):
    """A file of these can't be read or made, or shouldn't be relied on. The text says which, why, and what to do."""


def admin_key(folder: Path) -> tuple[str, bool]:
    """The key of the Admin API, and whether it was made just now. Raises SecretFileRefused."""
    path = folder / "admin.key"
    text, new = _kept(path, secrets.token_urlsafe(32))
    key = text.strip()
    if not key or not key.isascii() or len(key.split()) != 1:
        raise SecretFileRefused(f"{path} holds no key (one word): remove the file, and a new key is made")
    return key, new


def keyring(folder: Path) -> tuple[str, ...]:
    """Entries for `Sealer`, one a line in the file; one is made at first. Raises SecretFileRefused."""
    path = folder / "keyring"
    text, _ = _kept(path, secrets.token_urlsafe(24))  # 32 characters
    entries = tuple(text.split())
    if not entries or any(len(entry.encode()) not in _ENTRY_LENGTHS for entry in entries):
        # Removing it would lose what it sealed: not advised.
        raise SecretFileRefused(f"{path} must hold entries of 16 or 32 bytes, one a line: put back what it held before")
    return entries


def _kept(path: Path, fresh: str) -> tuple[str, bool]:
    """What the file holds, and whether it was made just now."""
    try:
        make_folder(path.parent)
        found = _read(path)
        if found is not None:
            return found, False
        try:
            create_file(path, fresh.encode() + b"\n")
        except FileExistsError:  # another process was quicker
            return _read(path) or "", False
    except OSError as error:
        raise SecretFileRefused(f"{path} can't be used: {(error.strerror or str(error)).lower()}") from error
    return fresh, True


def _read(path: Path) -> str | None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & _OTHERS:
            raise SecretFileRefused(
                f"{path} is open to other users (mode {mode:04o}): chmod 600 {path}; "
                "if somebody may have read it, replace what it holds"
            )
        return file.read().decode("utf-8", "replace")
