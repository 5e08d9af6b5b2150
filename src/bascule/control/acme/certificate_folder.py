"""What was obtained from one authority, as files in the store's folder, readable by their owner alone.

NAME.pem is a certificate's key and then its chain, in one file, so that they are never of two minds; account.json the
account. Each authority has a folder of its own: what a test authority issued isn't served in the name of another.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from bascule.store.durable_file import make_folder, replace_file

log = logging.getLogger("bascule.acme")

_BEGIN = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Obtained:
    """`chain`, `key`: PEM text. `names`: those that the certificate is for. Times in seconds since 1970."""

    chain: str
    key: str
    names: tuple[str, ...]
    since: float
    until: float


def read_pair(chain: str, key: str) -> Obtained:
    """Raises ValueError: not PEM text, or the key isn't the certificate's."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    leaf = x509.load_pem_x509_certificate(chain.encode())
    if load_pem_private_key(key.encode(), None).public_key() != leaf.public_key():
        raise ValueError("the key isn't the certificate's")
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(alternatives.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    since, until = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    return Obtained(chain, key, names, since, until)


def folder_of(store: Path, directory: str) -> Path:
    """For the authority with this directory."""
    host = urlsplit(directory).hostname or ""
    return store / "acme" / f"{host}-{hashlib.sha256(directory.encode()).hexdigest()[:8]}"


class CertificateFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"<certificates in {self._folder}>"

    def read(self, name: str) -> Obtained | None:
        """What was obtained under this name; None: nothing, or nothing that can be used, which is logged."""
        path = self._folder / f"{name}.pem"
        try:
            key, begin, chain = path.read_text().partition(_BEGIN)
            return read_pair(begin + chain, key)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.error("%s can't be read: %s", path, (error.strerror or str(error)).lower())
        except (ValueError, TypeError) as error:
            log.error("%s holds no certificate with its key: a new one is obtained (%s)", path, error)
        return None

    def write(self, name: str, obtained: Obtained) -> None:
        """Raises OSError."""
        make_folder(self._folder)
        replace_file(self._folder / f"{name}.pem", (obtained.key + obtained.chain).encode())

    def read_account(self) -> dict[str, Any] | None:
        """With its "key" (PEM text) at least. Raises OSError, ValueError."""
        path = self._folder / "account.json"
        try:
            found = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("key"), str):
            raise ValueError(f"{path} holds no account: remove it, and a new one is made")
        return found

    def write_account(self, account: dict[str, Any]) -> None:
        """Raises OSError."""
        make_folder(self._folder)
        replace_file(self._folder / "account.json", orjson.dumps(account, option=orjson.OPT_INDENT_2))
