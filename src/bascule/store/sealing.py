"""Secret fields as APISIX stores them: AES-CBC with PKCS7 padding, in base64; an entry of the keyring is the key, its
first 16 bytes are the IV. So the same text is always sealed the same: it hides secrets in the store and its backups,
and is no protection against who may write there.

A text that no key opens was never sealed, and stays as it is. A text that isn't sealed is taken for one with a chance
of about one in a million, and only if it is base64 of a multiple of 16 bytes.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

PUBLISHED = ("qeddd145sfvddff3", "edd1c9f0985e76a2")  # in the config.yaml that APISIX ships; no secret
_REFERENCES = ("$secret://", "$env://", "$file://")
_BLOCK = 16
_SHORTEST = 24  # base64 of one block
Change = Callable[[str], str]


class Sealer:
    """`fields_of`: the name of a plugin -> dotted paths of its secret fields. `enabled` is about those only: private
    keys of certificates are always sealed, as in APISIX; what is sealed is read in any case."""

    def __init__(self, keyring: Sequence[str], fields_of: Callable[[str], tuple[str, ...]], enabled: bool) -> None:
        """Raises ValueError for an entry that isn't 16 or 32 bytes long."""
        self._fields_of = fields_of
        self._enabled = enabled
        self._first = _cipher(keyring[0]) if keyring else None
        self._ciphers = [_cipher(entry) for entry in dict.fromkeys((*keyring, *PUBLISHED))]

    def seal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """A copy, which shares what isn't changed; `value` itself is never touched."""
        if self._first is None:
            return dict(value)
        sealed = dict(value)
        if self._enabled:
            self._change_plugins(kind, sealed, self._seal)
        _change_private_keys(kind, sealed, self._seal_private_key)
        return sealed

    def unseal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """As `seal`, the other way."""
        plain = dict(value)
        self._change_plugins(kind, plain, self._unseal)
        _change_private_keys(kind, plain, self._unseal)
        return plain

    def hide(self, kind: str, value: Mapping[str, Any], instead: str) -> dict[str, Any]:
        """A copy with `instead` (the object itself) for each text that is secret, whether secrets are sealed or not."""
        hidden = dict(value)
        self._change_plugins(kind, hidden, lambda text: instead)
        _change_private_keys(kind, hidden, lambda text: instead)
        return hidden

    # ---- where

    def _change_plugins(self, kind: str, value: dict[str, Any], change: Change) -> None:
        if kind == "plugin_metadata":
            for field in self._fields_of(str(value.get("id"))):
                value.update(_along(value, field.split("."), change))
            return
        plugins = value.get("plugins")
        if not isinstance(plugins, dict):
            return
        changed = {}
        for name, conf in plugins.items():
            inner = conf
            for field in self._fields_of(name):
                inner = _along(inner, field.split("."), change)
            if inner is not conf:
                changed[name] = inner
        if changed:
            value["plugins"] = {**plugins, **changed}

    # ---- how

    def _seal(self, text: str) -> str:
        if text.lower().startswith(_REFERENCES):
            return text
        assert self._first is not None
        padder = PKCS7(_BLOCK * 8).padder()
        encryptor = self._first.encryptor()
        data = encryptor.update(padder.update(text.encode()) + padder.finalize()) + encryptor.finalize()
        return binascii.b2a_base64(data, newline=False).decode()

    def _seal_private_key(self, text: str) -> str:
        """One that is sealed already is not sealed twice: no private key looks like that."""
        return self._seal(self._unseal(text))

    def _unseal(self, text: str) -> str:
        """The same object when it isn't sealed."""
        if len(text) < _SHORTEST or len(text) % 4:
            return text
        try:
            data = binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            return text
        if len(data) % _BLOCK:
            return text
        for cipher in self._ciphers:
            decryptor = cipher.decryptor()
            unpadder = PKCS7(_BLOCK * 8).unpadder()
            try:
                padded = decryptor.update(data) + decryptor.finalize()
                return (unpadder.update(padded) + unpadder.finalize()).decode()
            except ValueError:  # of the padding, or no UTF-8: another key's
                continue
        return text


def _cipher(entry: str) -> Cipher[CBC]:
    key = entry.encode()
    if len(key) not in (16, 32):
        raise ValueError(f"an entry of the keyring must be 16 or 32 bytes long, not {len(key)}")
    return Cipher(AES(key), CBC(key[:_BLOCK]))


def _change_private_keys(kind: str, value: dict[str, Any], change: Change) -> None:
    if kind == "ssls":
        for name in ("key", "keys"):
            if name in value:
                value[name] = _along(value[name], (), change)
    elif kind == "upstreams":
        value.update(_along(value, ("tls", "client_key"), change))
    else:
        upstream = value.get("upstream")
        if isinstance(upstream, dict) and "tls" in upstream:
            value["upstream"] = _along(upstream, ("tls", "client_key"), change)


def _along(value: Any, path: Sequence[str], change: Change) -> Any:
    """With `change` made to the text at `path`, or to each text of the list or object there. Lists on the way are
    entered. The same object when nothing changes."""
    if isinstance(value, list):
        entered = dict if path else (dict, str)
        items = [_along(item, path, change) if isinstance(item, entered) else item for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if isinstance(value, dict):
        if path:
            name, *rest = path
            changed = {name: _along(value[name], rest, change)} if name in value else {}
        else:
            changed = {name: change(inner) for name, inner in value.items() if isinstance(inner, str)}
        return {**value, **changed} if any(inner is not value[name] for name, inner in changed.items()) else value
    return change(value) if isinstance(value, str) and not path else value
