"""HTTP requests that plugins make, over aiohttp: pooled, one session per event loop, made at the first request."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bascule.plugin.host import HttpAnswer, HttpClientError

if TYPE_CHECKING:
    from aiohttp import ClientSession

MAX_ANSWER_BYTES = 64 << 20


class AiohttpClient:
    """Implements plugin.host.HttpClient. Proxies of the environment are not used, cookies are not kept, redirects and
    compressed bodies come back as they are."""

    def __init__(
        self,
        *,
        connections: int = 1000,
        connections_per_host: int = 100,
        idle_s: float = 60.0,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        user_agent: str = "Bascule",
    ) -> None:
        self._connections = connections
        self._connections_per_host = connections_per_host
        self._idle_s = idle_s
        self._max_answer_bytes = max_answer_bytes
        self._user_agent = user_agent
        self._sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, ClientSession] = (
            weakref.WeakKeyDictionary()
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
        body: bytes = b"",
        timeout_s: float = 3.0,
        ssl_verify: bool = True,
    ) -> HttpAnswer:
        """The whole answer within timeout_s. Raises HttpClientError; needs a real asyncio task."""
        # Imported here: aiohttp costs 15 MB and most gateways never make a request of their own.
        import aiohttp
        from yarl import URL

        fields = list(headers.items() if isinstance(headers, Mapping) else headers)
        try:
            async with self._session().request(
                method,
                URL(url, encoded=True),  # the target goes out as it is written
                headers=fields,
                data=body or None,
                allow_redirects=False,
                ssl=ssl_verify,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                skip_auto_headers=("Accept-Encoding", *(() if body else ("Content-Type",))),
            ) as answer:
                received = await self._read(answer.content)
                pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.raw_headers]
                return HttpAnswer(answer.status, pairs, received)
        except TimeoutError as error:
            raise HttpClientError(f"{method} {url}: no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise HttpClientError(f"{method} {url}: {_reason(error)}") from error

    async def close(self) -> None:
        """Closes the connections of the running loop's session."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    def _session(self) -> ClientSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            import aiohttp

            connector = aiohttp.TCPConnector(
                limit=self._connections,
                limit_per_host=self._connections_per_host,
                keepalive_timeout=self._idle_s,
                ttl_dns_cache=10,
            )
            session = self._sessions[loop] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._user_agent},
                auto_decompress=False,
                trust_env=False,
            )
        return session

    async def _read(self, content: Any) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in content.iter_any():
            size += len(part)
            if size > self._max_answer_bytes:
                raise ValueError(f"the answer is longer than {self._max_answer_bytes} bytes")
            parts.append(part)
        return b"".join(parts)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
