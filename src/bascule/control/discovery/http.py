"""HTTP exchanges with registries: bounded in time and size, with their failures in plain sentences."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import orjson
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from yarl import URL

MAX_BYTES = 64 << 20
MAX_LINE = 4 << 20
NO_VERIFY = False


class DiscoveryFailure(Exception):
    """A registry doesn't answer, or not as it should; the text says why. `source`: which of several servers."""

    def __init__(self, sentence: str, source: str = "") -> None:
        super().__init__(sentence)
        self.source = source


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, where: str) -> Any:
        """Raises DiscoveryFailure."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise DiscoveryFailure(f"{where} answers with what is no JSON") from None


class Http:
    """One session, made at the first request."""

    def __init__(self, agent: str = "bascule") -> None:
        self._agent = agent
        self._session: ClientSession | None = None

    async def ask(
        self,
        url: str,
        method: str = "GET",
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        connect_s: float = 2.0,
        total_s: float = 10.0,
        tls: ssl.SSLContext | bool = True,
        keepalive: bool = True,
    ) -> Answer:
        """The whole answer within total_s. User and password may stand in the URL. Raises DiscoveryFailure."""
        timeout = ClientTimeout(total=total_s, sock_connect=connect_s)
        try:
            async with self._request(url, method, params, headers, form, timeout, tls, keepalive) as answer:
                return Answer(answer.status, answer.headers, await _read(answer, place(url)))
        except TimeoutError:
            raise DiscoveryFailure(f"{place(url)} doesn't answer in time") from None
        except (ClientError, OSError, ValueError) as error:
            raise DiscoveryFailure(f"{place(url)} can't be asked: {_reason(error)}") from None

    async def lines(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        connect_s: float = 2.0,
        silent_s: float = 60.0,
        tls: ssl.SSLContext | bool = True,
    ) -> AsyncIterator[bytes]:
        """The lines of an answer that goes on, until it ends. Raises DiscoveryFailure, also when nothing comes for
        silent_s, and HttpRefused when the status isn't 200."""
        timeout = ClientTimeout(total=None, sock_connect=connect_s, sock_read=silent_s)
        try:
            async with self._request(url, "GET", params, headers, None, timeout, tls, True) as answer:
                if answer.status != 200:
                    raise HttpRefused(
                        place(url), Answer(answer.status, answer.headers, await _read(answer, place(url)))
                    )
                try:
                    async for line in _lines(answer, place(url)):
                        yield line
                finally:
                    _hang_up(answer)
        except TimeoutError:
            raise DiscoveryFailure(f"{place(url)} has gone silent") from None
        except (ClientError, OSError, ValueError) as error:
            raise DiscoveryFailure(f"{place(url)} can't be asked: {_reason(error)}") from None

    def _request(
        self,
        url: str,
        method: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        form: Mapping[str, str] | None,
        timeout: ClientTimeout,
        tls: ssl.SSLContext | bool,
        keepalive: bool,
    ) -> Any:
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=0, ttl_dns_cache=10),
                cookie_jar=DummyCookieJar(),
                headers={"User-Agent": self._agent},
                trust_env=False,
            )
        target = URL(url)
        fields = {"Accept": "application/json", **(headers or {})}
        if target.user is not None:
            pair = f"{target.user}:{target.password or ''}".encode()
            fields["Authorization"] = f"Basic {b64encode(pair).decode()}"
            target = target.with_user(None)
        if not keepalive:
            fields["Connection"] = "close"
        return self._session.request(
            method,
            target,
            params=params,
            headers=fields,
            data=form,
            timeout=timeout,
            ssl=tls,
            allow_redirects=False,
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0.01)  # connections over TLS are gone some turns of the loop later


class HttpRefused(DiscoveryFailure):
    """The answer has another status than 200."""

    def __init__(self, where: str, answer: Answer) -> None:
        super().__init__(f"{where} answers {answer.status}")
        self.answer = answer


def place(url: str) -> str:
    """A URL as it may be shown: without user, password and query."""
    target = URL(url)
    return str(target.with_user(None).with_query(None)) if target.host else url


async def _read(answer: ClientResponse, where: str) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise DiscoveryFailure(f"{where} answers with more than {MAX_BYTES} bytes")
    return bytes(body)


def _reason(error: Exception) -> str:
    if isinstance(error, ClientConnectorCertificateError):
        return f"its certificate isn't trusted: {error.certificate_error}"
    cause: BaseException = error.os_error if isinstance(error, ClientConnectorError) else error
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


async def _lines(answer: ClientResponse, where: str) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in answer.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            raise DiscoveryFailure(f"{where} sends a line of more than {MAX_LINE} bytes")
        for line in whole:
            if line:
                yield line


def _hang_up(answer: ClientResponse) -> None:
    """At once: an answer that goes on for ever has no end that TLS could wait for."""
    connection = answer.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
