"""One HTTP exchange with a secret manager, with its failures in plain sentences."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout
from yarl import URL

from bascule.control.secret_managers.manager import SecretFailure

TIMEOUT = ClientTimeout(total=10, sock_connect=3)
MAX_BYTES = 1 << 20


async def exchange(
    session: ClientSession,
    what: str,
    method: str,
    url: str,
    *,
    headers: dict[str, str] | None = None,
    form: dict[str, str] | None = None,
    verify: bool = True,
) -> tuple[int, Any]:
    """Status and JSON body (None when it is none). `url` is encoded already; `what` names the server in failures.
    Raises SecretFailure when there is no answer."""
    try:
        async with session.request(
            method, URL(url, encoded=True), headers=headers, data=form, ssl=verify, timeout=TIMEOUT, max_redirects=3
        ) as answer:
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise SecretFailure(f"{what} answers with more than {MAX_BYTES} bytes")
            status = answer.status
    except TimeoutError:
        raise SecretFailure(f"{what} doesn't answer in time") from None
    except (ClientError, OSError, ValueError) as error:
        raise SecretFailure(f"{what} doesn't answer: {_reason(error)}") from None
    try:
        return status, orjson.loads(body)
    except orjson.JSONDecodeError:
        return status, None


def _reason(error: Exception) -> str:
    cause: BaseException = error.os_error if isinstance(error, ClientConnectorError) else error
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    # asyncio's own words hold the address, which was named already.
    return "connection refused" if isinstance(cause, ConnectionRefusedError) else str(text)
