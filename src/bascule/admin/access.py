"""Where the Admin API is, and who may use it: source addresses, keys, roles."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence

from bascule.admin.answer import Answer, Refusal
from bascule.admin.permit import Permit
from bascule.model.admin_settings import Admin, AdminKey

BASE = "/apisix/admin"


class Access:
    """`keys`: with the generated ones filled in."""

    def __init__(self, admin: Admin, keys: Sequence[AdminKey]) -> None:
        self._networks = [ipaddress.ip_network(address, strict=False) for address in admin.allow_admin]
        self._required = admin.admin_key_required
        self._keys = [(key.key.encode(), Permit(key.name, key.role == "viewer", key.scope)) for key in keys if key.key]

    def check_address(self, remote: str | None) -> None:
        """Raises Refusal with 403."""
        try:
            address = ipaddress.ip_address((remote or "").partition("%")[0])
        except ValueError:
            raise Refusal(Answer(403, {"error_msg": "the client's address is unknown"})) from None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not any(address.version == network.version and address in network for network in self._networks):
            raise Refusal(Answer(403, {"error_msg": f"{address} is not in deployment.admin.allow_admin"}))

    def permit(
        self, method: str, headers: Mapping[str, str], query: Mapping[str, str], cookies: Mapping[str, str]
    ) -> Permit:
        """Of the key that came with a request. Raises Refusal with 401."""
        if not self._required:
            return Permit("anyone")
        # APISIX takes the header with underscores too.
        given = headers.get("X-API-KEY") or headers.get("X_API_KEY") or query.get("api_key")
        if not given and not _from_elsewhere(headers):
            given = cookies.get("x_api_key")
        if not given:
            raise _unknown("missing apikey")
        found: Permit | None = None
        for key, permit in self._keys:  # all of them: the time must not tell which one was near
            if hmac.compare_digest(key, given.encode(errors="backslashreplace")):
                found = permit
        if found is None:
            raise _unknown("wrong apikey")
        if found.reads_only and method not in ("GET", "HEAD", "OPTIONS"):
            raise _unknown("invalid method for role viewer")
        return found


def _from_elsewhere(headers: Mapping[str, str]) -> bool:
    """A page of another origin makes a browser send this, cookies and all."""
    origin = headers.get("Origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("Host", "").lower()


def _unknown(description: str) -> Refusal:
    return Refusal(Answer(401, {"error_msg": "failed to check token", "description": description}))
