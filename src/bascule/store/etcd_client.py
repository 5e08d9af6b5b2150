"""A client of etcd's v3 API by its JSON gateway (etcd 3.4 and later): ranges, transactions, leases, watches.

Keys and values are bytes here; the gateway takes them in base64, and 64-bit numbers as strings. A request that may have
been carried out is repeated only if the caller says that this does no harm.
"""

from __future__ import annotations

import asyncio
import io
import os
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, NamedTuple, TypeAlias

import aiohttp
import orjson

from bascule.model.admin_settings import Etcd
from bascule.store.entry import StoreUnavailable
from bascule.store.etcd_endpoints import EtcdEndpoints
from bascule.store.etcd_errors import (
    EtcdRefused,
    EtcdUnreachable,
    is_stale_token,
    is_trouble,
    refusal,
)

Json: TypeAlias = dict[str, Any]

_CONNECT_S = 5.0


class KeyValue(NamedTuple):
    """`value` None: deleted, and `modified` is when. `lease` 0: none."""

    key: bytes
    value: bytes | None
    created: int
    modified: int
    lease: int = 0


class Found(NamedTuple):
    """`revision`: of the whole store when it was asked. `more`: there are others behind these."""

    items: list[KeyValue]
    revision: int
    more: bool


class Told(NamedTuple):
    """A message of a watch. `created`: the first one, `revision` and `cluster` are those of the store as it begins.
    No events: nothing happened up to `revision`. `partial`: the last revision's events go on in the next message."""

    revision: int
    events: list[KeyValue]
    created: bool = False
    partial: bool = False
    cluster: str = ""


class EtcdClient:
    """Belongs to one event loop. Every call raises EtcdUnreachable or EtcdRefused, within the settings' `timeout`."""

    def __init__(self, settings: Etcd) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | bool = True
        self._token: str | None = None
        self._authenticating = asyncio.Lock()
        # The store's state as of the last answer.
        self.revision = 0
        self.cluster = ""

    def __repr__(self) -> str:
        return f"<etcd client {', '.join(self._settings.host)} {'open' if self._session else 'closed'}>"

    async def open(self) -> None:
        """Connects nowhere yet. Raises StoreUnavailable: a certificate or key can't be used."""
        loop = asyncio.get_running_loop()
        if any(url.startswith("https:") for url in self._settings.host):
            self._tls = await loop.run_in_executor(None, _tls_context, self._settings)
        self._endpoints = EtcdEndpoints(self._settings.host, loop.time)
        # An endpoint that hangs must leave time for the others, and for looking what became of a write.
        self._attempt_s = self._settings.timeout / (len(self._endpoints) + 1)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def preferred(self) -> str:
        """The endpoint that is asked next."""
        return self._opened()[1].in_order()[0]

    def deadline(self) -> float:
        """Of a request that begins now, in the loop's time."""
        return asyncio.get_running_loop().time() + self._settings.timeout

    # ---- requests

    async def status(self) -> Json:
        return await self.call("/v3/maintenance/status", {})

    async def range(
        self,
        key: bytes,
        end: bytes = b"",
        *,
        revision: int = 0,
        since: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        deadline: float | None = None,
    ) -> Found:
        """`end`: the first key behind them; empty: `key` alone. `revision` 0: as it is now, whoever wrote it.
        `since`: only those that were put in this revision or later."""
        body = {
            "key": text(key),
            "range_end": text(end),
            "revision": str(revision),
            "min_mod_revision": str(since),
            "limit": str(limit),
            "keys_only": keys_only,
        }
        answer = await self.call("/v3/kv/range", body, deadline=deadline)
        return Found(key_values(answer), int(answer["header"]["revision"]), bool(answer.get("more")))

    async def txn(self, body: Json, *, repeatable: bool, deadline: float | None = None) -> Json:
        return await self.call("/v3/kv/txn", body, repeatable=repeatable, deadline=deadline)

    async def put(self, key: bytes, value: bytes, *, deadline: float | None = None) -> int:
        """Its revision. Putting twice does no harm here."""
        answer = await self.call("/v3/kv/put", {"key": text(key), "value": text(value)}, deadline=deadline)
        return int(answer["header"]["revision"])

    async def grant(self, ttl_s: int, *, deadline: float | None = None) -> int:
        """A new lease. One that is lost on the way expires by itself."""
        return int((await self.call("/v3/lease/grant", {"TTL": str(ttl_s)}, deadline=deadline))["ID"])

    async def revoke(self, lease: int) -> None:
        """As far as it goes: what isn't revoked expires."""
        with suppress(StoreUnavailable):
            await self.call("/v3/lease/revoke", {"ID": str(lease)})

    async def call(self, path: str, body: Json, *, repeatable: bool = True, deadline: float | None = None) -> Json:
        """`repeatable`: another endpoint may be asked after one that perhaps did it."""
        loop = asyncio.get_running_loop()
        deadline = self.deadline() if deadline is None else deadline
        data = orjson.dumps(body)
        failures = []
        for url in self._opened()[1].in_order():
            patience_s = min(self._attempt_s, deadline - loop.time())
            if patience_s <= 0:
                failures.append(f"{url}: no time left to ask it")
                continue
            try:
                try:
                    answer = await self._ask(url, path, data, patience_s)
                except _Failed as failed:
                    if not (repeatable and failed.broken):
                        raise
                    # As a kept connection does whose other end was restarted.
                    answer = await self._ask(url, path, data, patience_s)
            except _Failed as failed:
                self._endpoints.failed(url)
                failures.append(f"{url}: {failed}")
                if failed.maybe_done and not repeatable:
                    raise EtcdUnreachable(_unreachable(failures), maybe_done=True) from failed
                continue
            self._endpoints.answered(url)
            header = answer["header"]
            self.revision, self.cluster = int(header.get("revision", self.revision)), header["cluster_id"]
            return answer
        raise EtcdUnreachable(_unreachable(failures))

    async def _ask(self, url: str, path: str, data: bytes, patience_s: float) -> Json:
        """Raises _Failed, EtcdRefused."""
        for last in (False, True):
            token = await self._authenticated(url, patience_s)
            try:
                return await self._post(url, path, data, patience_s, token)
            except EtcdRefused as refused:
                if last or token is None or not is_stale_token(refused.reason):
                    raise
                self._drop(token)
        raise AssertionError("unreachable")

    async def _post(self, url: str, path: str, data: bytes, patience_s: float, token: str | None) -> Json:
        session = self._opened()[0]
        try:
            # Bytes of more than a megabyte would hold up the loop, says aiohttp.
            async with session.post(url + path, data=io.BytesIO(data), **self._options(patience_s, token)) as response:
                answer = _loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failed(error, patience_s) from error
        if answer is None or response.status != 200 or "header" not in answer:
            raise self._refusal(answer, response.status)
        return answer

    def _options(self, patience_s: float | None, token: str | None) -> Json:
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = token
        return {
            "headers": headers,
            "timeout": aiohttp.ClientTimeout(
                total=patience_s, sock_connect=min(_CONNECT_S, self._attempt_s if patience_s is None else patience_s)
            ),
            "ssl": self._tls,
            "server_hostname": self._settings.tls.sni,
            "allow_redirects": False,
        }

    def _refusal(self, answer: Json | None, status: int) -> Exception:
        error = (answer or {}).get("error")
        if isinstance(error, dict):  # of a stream
            code, reason = error.get("grpc_code"), error.get("message")
        else:
            code, reason = (answer or {}).get("code"), error
        if not isinstance(code, int) or not isinstance(reason, str):
            return _Failed(f"answered with HTTP status {status}, not as etcd 3.4 and later does", maybe_done=True)
        if is_trouble(code):
            return _Failed(reason, maybe_done=True)
        return refusal(reason, self._settings.user, self._settings.prefix)

    def _opened(self) -> tuple[aiohttp.ClientSession, EtcdEndpoints]:
        if self._session is None:
            raise EtcdUnreachable("the connection to etcd is not open")
        return self._session, self._endpoints

    # ---- the token

    async def _authenticated(self, url: str, patience_s: float) -> str | None:
        """None: there is no user. Empty: etcd knows no users. Raises _Failed, EtcdRefused."""
        if self._settings.user is None:
            return None
        async with self._authenticating:
            if self._token is None:
                body = {"name": self._settings.user, "password": self._settings.password or ""}
                try:
                    answer = await self._post(url, "/v3/auth/authenticate", orjson.dumps(body), patience_s, None)
                    self._token = str(answer["token"])
                except _Failed as failed:
                    raise _Failed(str(failed), maybe_done=False) from failed
                except EtcdRefused as refused:
                    if "not enabled" not in refused.reason:
                        raise
                    self._token = ""
            return self._token

    def _drop(self, token: str | None) -> None:
        if self._token == token:
            self._token = None

    # ---- watching

    async def watch(self, key: bytes, end: bytes, start: int, idle_s: float) -> AsyncGenerator[Told | None, None]:
        """What happens to the keys from revision `start` on. None: nothing came for `idle_s` seconds.

        Ends only by EtcdUnreachable, EtcdRefused, Compacted."""
        session, endpoints = self._opened()
        failures = []
        for url in endpoints.in_order():
            began = False
            try:
                async with aclosing(self._watch(session, url, (key, end, start), idle_s)) as messages:
                    async for told in messages:
                        if not began:
                            began = True
                            endpoints.answered(url)
                        yield told
            except _Failed as failed:
                endpoints.failed(url)
                failures.append(f"{url}: {failed}")
                if began:  # what was told can't be told again from here
                    break
        raise EtcdUnreachable(_unreachable(failures))

    async def _watch(
        self, session: aiohttp.ClientSession, url: str, what: tuple[bytes, bytes, int], idle_s: float
    ) -> AsyncGenerator[Told | None, None]:
        key, end, start = what
        create = {
            "key": text(key),
            "range_end": text(end),
            "start_revision": str(start),
            "progress_notify": True,
            "fragment": True,  # else a thousand revisions may come as one message
        }
        token = await self._authenticated(url, self._attempt_s)
        options = self._options(None, token)
        options["headers"]["Grpc-Metadata-hasleader"] = "true"  # a member that has lost the others ends the watch
        data = orjson.dumps({"create_request": create})
        response = None
        rest = bytearray()
        wait_s = self._attempt_s  # for the first message
        try:
            async with asyncio.timeout(wait_s):
                response = await session.post(url + "/v3/watch", data=data, **options)
            while True:
                try:
                    async with asyncio.timeout(wait_s):
                        chunk = await response.content.readany()
                except TimeoutError:
                    if wait_s != idle_s:
                        raise
                    yield None
                    continue
                if not chunk:
                    raise _Failed("the watch ended", maybe_done=False)
                rest += chunk
                if b"\n" not in chunk:
                    continue
                *lines, tail = bytes(rest).split(b"\n")
                rest = bytearray(tail)
                for line in lines:
                    yield self._told(line, response.status, token)
                wait_s = idle_s
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failed(error, wait_s) from error
        finally:
            if response is not None:
                response.close()

    def _told(self, line: bytes, status: int, token: str | None) -> Told:
        """Raises _Failed, EtcdRefused, Compacted."""
        answer = _loads(line)
        result = (answer or {}).get("result")
        if not isinstance(result, dict):
            raise self._refusal(answer, status)
        if result.get("canceled"):
            self._drop(token)  # etcd says "permission denied" of a token that has expired as well
            if int(result.get("compact_revision", 0)):
                raise refusal("the revision has been compacted", None, "")
            reason = result.get("cancel_reason") or "the watch was cancelled"
            if "no leader" in reason:
                raise _Failed(reason, maybe_done=False)
            raise refusal(reason, self._settings.user, self._settings.prefix)
        header = result["header"]
        return Told(
            int(header["revision"]),
            [_event(event) for event in result.get("events", ())],
            bool(result.get("created")),
            bool(result.get("fragment")),
            header["cluster_id"],
        )


class _Failed(Exception):
    """One endpoint didn't do it, or didn't say so. `broken`: the connection was lost."""

    def __init__(self, text: str, *, maybe_done: bool, broken: bool = False) -> None:
        super().__init__(text)
        self.maybe_done = maybe_done
        self.broken = broken


def text(data: bytes) -> str:
    """As the gateway takes bytes."""
    return b64encode(data).decode()


def key_values(answer: Json) -> list[KeyValue]:
    """Of a range's answer."""
    return [_key_value(one) for one in answer.get("kvs", ())]


def _key_value(one: Json) -> KeyValue:
    return KeyValue(
        b64decode(one["key"]),
        b64decode(one.get("value", "")),
        int(one["create_revision"]),
        int(one["mod_revision"]),
        int(one.get("lease", 0)),
    )


def _event(event: Json) -> KeyValue:
    if event.get("type") == "DELETE":
        return KeyValue(b64decode(event["kv"]["key"]), None, 0, int(event["kv"]["mod_revision"]))
    return _key_value(event["kv"])


def _loads(data: bytes) -> Json | None:
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _unreachable(failures: list[str]) -> str:
    return f"etcd can't be reached: {'; '.join(failures)}"


def _failed(error: Exception, patience_s: float) -> _Failed:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = f"its certificate isn't trusted ({error.certificate_error}): see deployment.etcd.tls (ca, sni, verify)"
        return _Failed(why, maybe_done=False)
    if isinstance(error, aiohttp.ClientConnectorError):  # with TLS and DNS: nothing was sent
        return _Failed(_reason(error.os_error), maybe_done=False)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return _Failed("no connection in time", maybe_done=False)
    if isinstance(error, TimeoutError):
        return _Failed(f"no answer within {patience_s:.3g} s", maybe_done=True)
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return _Failed(f"it refuses the connection: {error} (deployment.etcd.tls.cert, key)", maybe_done=True)
    cut = isinstance(error, aiohttp.ClientPayloadError)  # whose text is long and tells nothing
    why = "in the midst of an answer" if cut else str(error) or type(error).__name__
    return _Failed(f"the connection broke ({why})", maybe_done=True, broken=True)


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno).lower()  # asyncio's own text tells addresses instead
    return (error.strerror or str(error)).lower()


def _tls_context(settings: Etcd) -> ssl.SSLContext:
    """Raises StoreUnavailable. Reads files."""
    tls = settings.tls
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("ca", tls.ca, error) from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert is not None or tls.key is not None:
        if tls.cert is None:
            raise StoreUnavailable("deployment.etcd.tls.key is set, but not deployment.etcd.tls.cert")
        try:
            context.load_cert_chain(tls.cert, tls.key)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("cert", f"{tls.cert} with key {tls.key}", error) from error
    return context


def _unusable(name: str, file: str | None, error: OSError) -> StoreUnavailable:
    why = "not PEM, or certificate and key don't belong together"
    if not isinstance(error, ssl.SSLError):
        why = (error.strerror or str(error)).lower()
    return StoreUnavailable(f"deployment.etcd.tls.{name}: {file} can't be used: {why}")
