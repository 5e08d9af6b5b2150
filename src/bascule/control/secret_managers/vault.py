"""HashiCorp Vault and what speaks like it: the key/value engine, versions 1 and 2."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from aiohttp import ClientSession

from bascule.control.secret_managers.http_json import exchange
from bascule.control.secret_managers.manager import Documents, SecretFailure, SecretManager, member
from bascule.model.secret import VaultSecret


class Vault(SecretManager[dict[str, Any]]):
    """A key is `path/field`: the last segment is the field of what is stored at `{prefix}/{path}`. With version 2 of
    the engine the prefix has its `data`: "secret/data/apps"."""

    def __init__(self, conf: VaultSecret, session: ClientSession) -> None:
        self._session = session
        self._base = conf.uri.rstrip("/")
        self._prefix = conf.prefix.strip("/")
        self._headers = {"X-Vault-Token": conf.token, "X-Vault-Request": "true"}
        if conf.namespace is not None:
            self._headers["X-Vault-Namespace"] = conf.namespace
        self._what = f"vault at {self._base}"

    async def get(self, key: str, documents: Documents[dict[str, Any]]) -> str:
        path, _, field = key.rpartition("/")
        if not path.strip("/") or not field:
            raise SecretFailure(f'"{key}" must have the form path/field', gone=True)
        name = "/".join(filter(None, (self._prefix, path.strip("/"))))
        return member(await documents.get(name), field, f'what {self._what} has at "{name}"')

    async def ask(self, name: str) -> dict[str, Any]:
        url = f"{self._base}/v1/{quote(name)}"
        status, body = await exchange(self._session, self._what, "GET", url, headers=self._headers)
        told = body if isinstance(body, dict) else {}
        if status == 404:
            raise SecretFailure(f'{self._what} has nothing at "{name}"{_words(told, "warnings")}', gone=True)
        if status != 200:
            raise SecretFailure(f'{self._what} answers {status} for "{name}"{_words(told, "errors")}')
        data = told.get("data")
        if not isinstance(data, dict):
            raise SecretFailure(f'{self._what} answers for "{name}" with something else than a secret')
        inner = data.get("data")
        if isinstance(inner, dict) and isinstance(data.get("metadata"), dict):
            return inner
        return data


def _words(body: dict[str, Any], name: str) -> str:
    words = body.get(name)
    return f": {'; '.join(map(str, words))}" if isinstance(words, list) and words else ""
