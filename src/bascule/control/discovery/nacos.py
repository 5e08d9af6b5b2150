"""Services that are registered with Nacos: their healthy instances, asked for again and again."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from hmac import digest
from math import isfinite
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, model_validator
from yarl import URL

from bascule.control.discovery.alternates import Alternates, Prefix, Timeout, Urls, spread_s, url_of
from bascule.control.discovery.discovery import (
    DiscoveredNode,
    Discovery,
    DiscoveryConfig,
    DiscoveryFailure,
    Host,
    Nodes,
    Service,
)
from bascule.control.discovery.http import Answer
from bascule.errors.sentences import Refused

NAMESPACE = "public"
GROUP = "DEFAULT_GROUP"
WEIGHT_UNIT = 100  # Nacos' weights are fractions, ours are whole
DENIED = (401, 403)


class NacosConfig(DiscoveryConfig):
    """User and password may stand in the URLs of `host`; `access_key` and `secret_key` sign requests instead."""

    host: Urls
    prefix: Prefix = "/nacos/v1/"
    fetch_interval: Annotated[int, Field(ge=1)] = 30
    weight: Annotated[int, Field(ge=1)] = 100
    access_key: str = ""
    secret_key: str = ""
    timeout: Timeout = Timeout()

    @model_validator(mode="after")
    def _both_keys(self) -> Self:
        if bool(self.access_key) != bool(self.secret_key):
            raise Refused('"access_key" and "secret_key" need each other')
        return self


class _Token(NamedTuple):
    text: str
    until: float  # by the monotonic clock


class Nacos(Discovery[NacosConfig]):
    Config = NacosConfig
    sockets = False

    def __init__(self, conf: NacosConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._tokens: dict[str, _Token] = {}
        self._logins: dict[str, asyncio.Lock] = {}

    def fault(self, service: Service) -> str | None:
        for name in ("namespace_id", "group_name"):
            value = service.arg(name)
            if value is not None and not isinstance(value, str):
                return f'"{name}" in discovery_args must be a string'
        return None

    async def watch(self, service: Service) -> AsyncIterator[Nodes]:
        servers = Alternates(self.conf.host)
        while True:
            yield await servers.ask(lambda server: self._fetch(server, service))
            await asyncio.sleep(spread_s(self.conf.fetch_interval))

    async def _fetch(self, server: str, service: Service) -> list[DiscoveredNode]:
        url = url_of(_bare(server), self.conf.prefix, "ns/instance/list")
        group = service.arg("group_name") or GROUP
        params = {
            "serviceName": service.name,
            "namespaceId": service.arg("namespace_id") or NAMESPACE,
            "groupName": group,
            "healthyOnly": "true",
            **self._signature(group, service.name),
        }
        token = await self._token(server)
        answer = await self._ask(url, {**params, **token})
        if answer.status in DENIED and token:
            token = await self._token(server, beside=token)  # it has ended before its time
            answer = await self._ask(url, {**params, **token})
        if answer.status != 200:
            raise answer.refusal(url)
        document = answer.json(url)
        try:
            return [node for one in document["hosts"] if (node := self._node(one)) is not None]
        except (KeyError, TypeError, AttributeError):
            raise DiscoveryFailure(f"{url} answers with no list of hosts") from None

    def _node(self, one: Any) -> DiscoveredNode | None:
        if one.get("enabled") is False or one.get("healthy") is False:
            return None
        weight = one.get("weight", self.conf.weight)
        if isinstance(weight, float) and isfinite(weight * WEIGHT_UNIT) and weight >= 0:
            weight = int(weight) if weight.is_integer() else max(1, round(weight * WEIGHT_UNIT))
        metadata = one.get("metadata")
        return DiscoveredNode(one["ip"], one["port"], weight, 0, metadata if isinstance(metadata, dict) else None)

    async def _ask(self, url: str, params: Mapping[str, str]) -> Answer:
        timeout = self.conf.timeout
        return await self.host.http.ask(url, params=params, connect_s=timeout.connect / 1000, total_s=timeout.total_s)

    # ---- who asks

    def _signature(self, group: str, name: str) -> dict[str, str]:
        if not self.conf.access_key:
            return {}
        data = f"{int(time.time() * 1000)}@@{group}@@{name}"
        signed = b64encode(digest(self.conf.secret_key.encode(), data.encode(), "sha1")).decode()
        return {"ak": self.conf.access_key, "data": data, "signature": signed}

    async def _token(self, server: str, beside: Mapping[str, str] | None = None) -> dict[str, str]:
        """Asked for with user and password, once for all services, and kept for four fifths of its life. `beside`: one
        that is refused. Raises DiscoveryFailure."""
        user = URL(server).user
        if user is None:
            return {}
        async with self._logins.setdefault(server, asyncio.Lock()):
            known = self._tokens.get(server)
            refused = beside is not None and known is not None and beside["accessToken"] == known.text
            if known is None or refused or known.until < time.monotonic():
                known = self._tokens[server] = await self._log_in(server, user)
            return {"accessToken": known.text}

    async def _log_in(self, server: str, user: str) -> _Token:
        url = url_of(_bare(server), self.conf.prefix, "auth/login")
        form = {"username": user, "password": URL(server).password or ""}
        timeout = self.conf.timeout
        answer = await self.host.http.ask(
            url, "POST", form=form, connect_s=timeout.connect / 1000, total_s=timeout.total_s
        )
        if answer.status != 200:
            raise answer.refusal(url)
        try:
            document = answer.json(url)
            return _Token(str(document["accessToken"]), time.monotonic() + 0.8 * float(document["tokenTtl"]))
        except (KeyError, TypeError, ValueError):
            raise DiscoveryFailure(f"{url} answers without a token") from None


def _bare(server: str) -> str:
    """Without user and password."""
    return str(URL(server).with_user(None))
