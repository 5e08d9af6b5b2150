"""Google Cloud Secret Manager: a service account's signed JWT buys a token, the token buys secrets (RFC 7523)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import ClientSession
from pydantic import ValidationError

from bascule.control.secret_managers.http_json import exchange
from bascule.control.secret_managers.manager import Documents, SecretFailure, SecretManager, member_of_text
from bascule.errors.sentences import sentences
from bascule.model.secret import GcpAuthConfig, GcpSecret

EXTRA = "it needs the extra bascule[gcp]: pip install 'bascule[gcp]'"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFE_S = 3600
SPARE_S = 60  # a token is renewed so long before it ends


class Gcp(SecretManager[str]):
    """A key is `name` or `name/field`; a field is one of the JSON object that the secret's latest version holds.
    Raises SecretFailure when joserfc isn't installed."""

    def __init__(self, conf: GcpSecret, session: ClientSession) -> None:
        try:
            import joserfc.jwt  # noqa: F401
        except ImportError:
            raise SecretFailure(EXTRA) from None
        self._conf = conf
        self._session = session
        self._account: GcpAuthConfig | None = conf.auth_config
        self._token = ""
        self._token_ends = 0.0
        self._buying = asyncio.Lock()

    async def get(self, key: str, documents: Documents[str]) -> str:
        name, _, field = key.strip("/").partition("/")
        text = await documents.get(name)
        return member_of_text(text, field, f'the secret "{name}" in Google Secret Manager') if field else text

    async def ask(self, name: str) -> str:
        account = await self._read_account()
        status, body = await self._get(account, name)
        if status == 401:  # withdrawn before its time
            self._token_ends = 0.0
            status, body = await self._get(account, name)
        told = body if isinstance(body, dict) else {}
        if status == 404:
            raise SecretFailure(f'{account.entries_uri} has no secret "{name}"{_words(told)}', gone=True)
        if status != 200:
            raise SecretFailure(f'{account.entries_uri} answers {status} for "{name}"{_words(told)}')
        try:
            return base64.b64decode(told["payload"]["data"], validate=True).decode()
        except (KeyError, TypeError, binascii.Error, UnicodeDecodeError):
            raise SecretFailure(f'the secret "{name}" in {account.entries_uri} is no text', gone=True) from None

    async def _get(self, account: GcpAuthConfig, name: str) -> tuple[int, Any]:
        async with self._buying:
            if time.time() > self._token_ends - SPARE_S:
                await self._buy(account)
        path = f"projects/{quote(account.project_id, safe='')}/secrets/{quote(name, safe='')}/versions/latest:access"
        url = f"{account.entries_uri.rstrip('/')}/{path}"
        headers = {"Authorization": f"Bearer {self._token}"}
        return await exchange(
            self._session, account.entries_uri, "GET", url, headers=headers, verify=self._conf.ssl_verify
        )

    async def _buy(self, account: GcpAuthConfig) -> None:
        now = time.time()
        signed = await asyncio.to_thread(_sign, account, int(now))
        form = {"grant_type": GRANT, "assertion": signed}
        status, body = await exchange(
            self._session, account.token_uri, "POST", account.token_uri, form=form, verify=self._conf.ssl_verify
        )
        told = body if isinstance(body, dict) else {}
        token, life_s = told.get("access_token"), told.get("expires_in", LIFE_S)
        if status != 200 or not isinstance(token, str) or not isinstance(life_s, int | float):
            raise SecretFailure(f"{account.token_uri} answers {status} and gives no token{_words(told)}")
        self._token, self._token_ends = token, now + life_s

    async def _read_account(self) -> GcpAuthConfig:
        """Of the resource, or of the file that it names: read each time a token isn't there, so that it may change."""
        path = self._conf.auth_file
        if path is not None and (self._account is None or time.time() > self._token_ends - SPARE_S):
            self._account = await asyncio.to_thread(_account_in, path)
        assert self._account is not None
        return self._account


def _account_in(path: str) -> GcpAuthConfig:
    """A service account's key file as Google gives it out."""
    try:
        found = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise SecretFailure(f"{path} can't be read: {(error.strerror or str(error)).lower()}") from None
    except orjson.JSONDecodeError:
        raise SecretFailure(f"{path} is no JSON") from None
    known = found if isinstance(found, dict) else {}
    value = {name: known[name] for name in GcpAuthConfig.model_fields if name in known}
    try:
        return GcpAuthConfig.model_validate(value)
    except ValidationError as error:
        at, sentence = sentences(error, value, GcpAuthConfig)[0]
        raise SecretFailure(f"{path}: {at}: {sentence}") from None


def _sign(account: GcpAuthConfig, now: int) -> str:
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import RSAKey

    claims = {
        "iss": account.client_email,
        "scope": " ".join(account.scope),
        "aud": account.token_uri,
        "iat": now,
        "exp": now + LIFE_S,
    }
    try:
        return jwt.encode({"alg": "RS256", "typ": "JWT"}, claims, RSAKey.import_key(account.private_key))
    except (JoseError, ValueError, TypeError) as error:
        raise SecretFailure(f"the private key of {account.client_email} can't be used: {error}") from None


def _words(body: dict[str, Any]) -> str:
    """What Google says of an error, in either of its two forms."""
    error = body.get("error")
    if isinstance(error, dict):
        return f": {error.get('message')}"
    return f": {body.get('error_description') or error}" if error else ""
