"""A gateway that runs, through its Admin API."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from bascule.cli.gateway_client import Change, GatewayRefused, PlanOutdated, Told, error_lines
from bascule.cli.settings_file import Configured

BASE = "/apisix/admin"  # as in admin.http, whose import would cost more than the command
_TIMEOUT_S = 120
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_OF_DOCUMENT = "_conf_version"


class NothingListens(Exception):
    """There is no Admin API at the address that config.yaml names."""


class HttpGateway:
    """Asks once whether anybody is there: raises NothingListens, or GatewayRefused for a key that is refused."""

    def __init__(self, configured: Configured) -> None:
        admin = configured.settings.deployment.admin
        self._host, self._port = _ANY.get(admin.admin_listen.ip, admin.admin_listen.ip), admin.admin_listen.port
        self._tls = _tls(configured)
        self._key = _key(configured)
        self._ask("GET", "")

    @property
    def place(self) -> str:
        return f"the Admin API at {self._host}:{self._port}"

    def history(self, *, limit: int, before: int | None, prefix: str) -> list[Told]:
        query = {"limit": limit, "before": before, "prefix": prefix or None}
        return list(self._ask("GET", "history", query)["list"])

    def revision(self, number: int) -> Told:
        return dict(self._ask("GET", f"history/{number}"))

    def between(self, first: int, second: int | None) -> list[Told]:
        return list(self._ask("GET", "diff", {"from": first, "to": second})["plan"])

    def export(self, *, revision: int | None, times: bool, hide_secrets: bool) -> Told:
        query = {"revision": revision, "times": times, "hide_secrets": hide_secrets}
        document = self._ask("GET", "configs", query)
        return {key: value for key, value in document.items() if not key.endswith(_OF_DOCUMENT)}

    def apply(self, change: Change, agreed: str | None) -> Told:
        query = {"prune": change.prune, "note": change.note or None} | _agreed(agreed)
        return dict(self._ask("POST", "configs", query, change.document))

    def rollback(self, number: int, agreed: str | None) -> Told:
        return dict(self._ask("POST", "rollback", _agreed(agreed), {"revision": number}))

    def explain(self, asked: Told) -> Told:
        return dict(self._ask("POST", "explain", body=asked))

    def debug_token(self, valid_s: float) -> str:
        return str(self._ask("POST", "debug_token", body={"for": valid_s})["token"])

    def close(self) -> None:
        """Each request has its own connection."""

    def _ask(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        url = f"{BASE}/{path}" if path else BASE
        url += f"?{urlencode(given)}" if given else ""
        headers = {"Accept": "application/json, application/problem+json", "Content-Type": "application/json"}
        if self._key:
            headers["X-API-KEY"] = self._key
        data = None if body is None else json.dumps(body).encode()
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
            if self._tls is None
            else http.client.HTTPSConnection(self._host, self._port, timeout=_TIMEOUT_S, context=self._tls)
        )
        try:
            connection.request(method, url, data, headers)
            answer = connection.getresponse()
            text = answer.read()
        except ConnectionRefusedError:
            raise NothingListens from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise GatewayRefused(f"{self.place} can't be asked: {reason}") from None
        finally:
            connection.close()
        return self._told(answer.status, text)

    def _told(self, status: int, text: bytes) -> Any:
        try:
            told = json.loads(text) if text else {}
        except ValueError:
            raise GatewayRefused(f"{self.place} answers {status} with what is no JSON: is that a Bascule?") from None
        if status == 409 and "plan" in told:
            raise PlanOutdated(told)
        if status >= 400:
            told = told if isinstance(told, dict) else {}
            error = told.get("error_msg") or told.get("detail") or f"status {status}"
            if status == 401:
                error = f"{self.place} refuses the key: {told.get('description', error)}"
            raise GatewayRefused(str(error), error_lines(told))
        return told


def _agreed(agreed: str | None) -> dict[str, Any]:
    return {"dry_run": True} if agreed is None else {"plan_id": agreed}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key(configured: Configured) -> str | None:
    """Of an admin for everything: given in config.yaml, or made at the gateway's first start."""
    admin = configured.settings.deployment.admin
    if not admin.admin_key_required:
        return None
    for key in admin.admin_key:
        if key.role != "admin" or key.scope is not None:
            continue
        if key.key:
            return key.key
        path = configured.store_folder / "admin.key"
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise GatewayRefused(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    return None


def _tls(configured: Configured) -> ssl.SSLContext | None:
    """The gateway's own certificate is what is trusted, whatever name it has."""
    admin = configured.settings.deployment.admin
    if not admin.https_admin:
        return None
    files = admin.admin_api_mtls
    try:
        context = ssl.create_default_context(cafile=files.admin_ssl_cert or None)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if files.admin_ssl_ca_cert:
            context.load_cert_chain(files.admin_ssl_cert, files.admin_ssl_cert_key)
    except (OSError, ssl.SSLError) as error:
        raise GatewayRefused(f"the Admin API's certificate can't be used: {error}") from None
    return context
