"""HTTP exchanges with registries: bounded in time and size, with their failures in plain sentences."""

from __future__ import annotations

import asyncio
import ssl
import unicodedata
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from yarl import URL

# Imported for good at the first request: most gateways have no registry, and aiohttp is a fifth of a start.
if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession, ClientTimeout

MAX_BYTES = 64 << 20
MAX_LINE = 4 << 20
MAX_SENTENCE = 400
PER_HOST = 150  # connections to a server: a thousand services that are asked for at once wait for one another


class DiscoveryFailure(Exception):
    """A registry doesn't answer, or not as it should; the text says why, in one line of printable characters, as parts
    of it may be the registry's own words. `source`: which of several servers."""

    def __init__(self, sentence: str, source: str = "") -> None:
        super().__init__(one_line(sentence, MAX_SENTENCE))
        self.source = source


def one_line(text: str, most: int) -> str:
    """For logs and terminals: blanks for white space, "?" for what can't be printed, at most so many characters."""
    text = " ".join(text[: 4 * most].split())
    text = "".join("?" if unicodedata.category(c)[0] == "C" else c for c in text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


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

    def refusal(self, where: str, why: str | None = None) -> DiscoveryFailure:
        """For a status that isn't what it should be. `why`: what the registry says; None: the body's begin."""
        if 300 <= self.status < 400 and "Location" in self.headers:
            why = f"it leads to {place(self.headers['Location'])}, where isn't asked"
        elif why is None:
            why = one_line(self.body[:200].decode(errors="replace"), 100)
        return DiscoveryFailure(f"{where} answers {self.status}{f': {why}' if why else ''}")


class Http:
    """One session, made at the first request. `trusted`: a file of CAs that servers are verified by, or "system"."""

    def __init__(self, agent: str = "bascule", trusted: str = "system") -> None:
        self._agent = agent
        self._trusted = trusted
        self._context: ssl.SSLContext | None = None
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
        from aiohttp import ClientError, ClientTimeout

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
        most_s: float = 60.0,
        tls: ssl.SSLContext | bool = True,
    ) -> AsyncIterator[bytes]:
        """The lines of an answer that goes on, until it ends. Raises DiscoveryFailure: HttpRefused if the status isn't
        200, CutShort if the answer breaks off or hasn't ended after most_s."""
        from aiohttp import ClientError, ClientTimeout

        timeout = ClientTimeout(total=most_s, sock_connect=connect_s)
        begun = False
        try:
            async with self._request(url, "GET", params, headers, None, timeout, tls, True) as answer:
                if answer.status != 200:
                    raise HttpRefused(
                        place(url), Answer(answer.status, answer.headers, await _read(answer, place(url)))
                    )
                begun = True
                try:
                    async for line in _lines(answer, place(url)):
                        yield line
                finally:
                    _hang_up(answer)
        except TimeoutError:
            if begun:
                raise CutShort(f"{place(url)} doesn't end its answer") from None
            raise DiscoveryFailure(f"{place(url)} doesn't answer in time") from None
        except (ClientError, OSError, ValueError) as error:
            if begun:
                raise CutShort(f"{place(url)} broke off: {_reason(error)}") from None
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
            from aiohttp import ClientSession, DummyCookieJar, TCPConnector

            self._session = ClientSession(
                connector=TCPConnector(limit=0, limit_per_host=PER_HOST, ttl_dns_cache=10),
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
            ssl=self._verifying() if tls is True else tls,
            allow_redirects=False,
        )

    def _verifying(self) -> ssl.SSLContext | bool:
        """Raises DiscoveryFailure."""
        if self._trusted == "system":
            return True
        if self._context is None:
            try:
                self._context = ssl.create_default_context(cafile=self._trusted)
            except OSError as error:
                raise DiscoveryFailure(f"{self._trusted} can't be used: {error.strerror or error}") from None
        return self._context

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


class CutShort(DiscoveryFailure):
    """The connection has ended in the middle of an answer, or the answer doesn't end."""


def place(url: str) -> str:
    """A URL as it may be shown: without user, password and query."""
    try:
        target = URL(url)
        return str(target.with_user(None).with_query(None))
    except ValueError:  # a path alone, or a port that there can't be
        scheme, separator, rest = url.partition("?")[0].rpartition("://")
        return f"{scheme}{separator}{rest.rpartition('@')[2]}"


async def _read(answer: ClientResponse, where: str) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise DiscoveryFailure(f"{where} answers with more than {MAX_BYTES} bytes")
    return bytes(body)


def _reason(error: Exception) -> str:
    from aiohttp import ClientConnectorCertificateError, ClientConnectorError, ClientResponseError

    if isinstance(error, ClientConnectorCertificateError):
        return f"its certificate isn't trusted: {error.certificate_error}"
    if isinstance(error, ClientResponseError):
        return f"it answers with what is no HTTP: {error.message}"  # the error's text would hold the query, with tokens
    cause: BaseException = error.os_error if isinstance(error, ClientConnectorError) else error
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


async def _lines(answer: ClientResponse, where: str) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for chunk in answer.content.iter_any():
        first, *more = chunk.split(b"\n")
        rest += first
        if len(rest) > MAX_LINE:
            raise DiscoveryFailure(f"{where} sends a line of more than {MAX_LINE} bytes")
        if not more:
            continue
        whole = [bytes(rest), *more[:-1]]
        rest = bytearray(more[-1])
        for line in whole:
            if line:
                yield line


def _hang_up(answer: ClientResponse) -> None:
    """At once: an answer that goes on for ever has no end that TLS could wait for."""
    connection = answer.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
