"""OCSP staples: fetched from the responders of the certificates whose items ask for them, and renewed in time.

Workers are told each one when it comes, and that there is none any more when it has run out. A handshake never waits
for a responder: without a staple the certificate is shown alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bascule.model.change import Change
from bascule.model.ssl import OcspStapling
from bascule.snapshot.certificates import staple_key
from bascule.snapshot.references import Resolve, Resolver

if TYPE_CHECKING:
    from aiohttp import ClientSession

log = logging.getLogger("bascule.ocsp")

LARGEST = 65536  # bytes of an answer
AT_ONCE = 8
ANSWER_S = 10.0
SOONEST_S = 1.0


@dataclass(slots=True)
class _Staple:
    """Of one certificate. `due`: when to ask next; `until`: when the response has run out; both in seconds since the
    epoch."""

    item: str
    chain: str
    conf: OcspStapling
    response: bytes | None = None
    due: float = 0.0
    until: float = 0.0
    failures: int = 0
    trouble: str | None = None
    asked: asyncio.Task[None] | None = field(default=None, repr=False)


class Stapler:
    """`tell` is given what has changed: the key of a certificate (snapshot/certificates.py) -> response, or None.
    `resolve` answers references. After a failure it is asked again after `retry_s`, twice that, and so on up to
    `longest_retry_s`."""

    def __init__(
        self,
        tell: Callable[[dict[bytes, bytes | None]], None],
        resolve: Resolve,
        *,
        retry_s: float = 5.0,
        longest_retry_s: float = 600.0,
    ) -> None:
        self._tell = tell
        self._resolver = Resolver(resolve, checking=True)
        self._retry_s = retry_s
        self._longest_retry_s = longest_retry_s
        self._values: dict[str, dict[str, Any]] = {}  # of items that ask for staples
        self._staples: dict[bytes, _Staple] = {}
        self._woken = asyncio.Event()
        self._session: ClientSession | None = None
        self._free = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<stapler: {len(self.answers)} of {len(self._staples)}>"

    @property
    def answers(self) -> dict[bytes, bytes]:
        """All that is known now, for a worker that starts."""
        return {key: one.response for key, one in self._staples.items() if one.response is not None}

    def details(self) -> dict[str, Any]:
        """For the status server."""
        troubles = [one for one in self._staples.values() if one.trouble is not None]
        return {
            "certificates": len(self._staples),
            "stapled": len(self.answers),
            "trouble": [{"ssl": one.item, "message": one.trouble} for one in troubles],
        }

    def take(self, changes: Iterable[Change]) -> None:
        """What the configuration says from now on."""
        for change in changes:
            if change.kind != "ssls":
                continue
            if change.value is not None and _asks(change.value):
                self._values[change.id] = change.value
            elif self._values.pop(change.id, None) is None:
                continue
            self._woken.set()

    def look_again(self) -> None:
        """References stand for something else now."""
        if self._values:
            self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                self._woken.clear()
                self._settle()
                self._drop_outdated()
                self._ask_due()
                waiting = [min(one.due, one.until or one.due) for one in self._staples.values() if one.asked is None]
                wait_s = max(min(waiting) - time.time(), 0.01) if waiting else None
                try:
                    async with asyncio.timeout(wait_s):
                        await self._woken.wait()
                except TimeoutError:
                    pass
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._session is not None:
                await self._session.close()
                self._session = None

    # ---- what is wanted

    def _settle(self) -> None:
        wanted: dict[bytes, tuple[str, str, OcspStapling]] = {}
        for id, value in self._values.items():
            try:
                conf = OcspStapling.model_validate(value["ocsp_stapling"])
            except ValidationError:
                continue  # refused, with a better word
            for chain in self._chains(value):
                wanted[staple_key(chain)] = (id, chain, conf)
        gone = [key for key in self._staples if key not in wanted]
        told: dict[bytes, bytes | None] = {key: None for key in gone if self._staples[key].response is not None}
        for key in gone:
            if (task := self._staples.pop(key).asked) is not None:
                task.cancel()
        for key, (id, chain, conf) in wanted.items():
            staple = self._staples.get(key)
            if staple is None:
                self._staples[key] = _Staple(id, chain, conf)
            elif staple.conf != conf:
                staple.conf, staple.due = conf, 0.0
        if told:
            self._tell(told)

    def _chains(self, value: dict[str, Any]) -> Iterator[str]:
        further = value.get("certs")
        for text in (value.get("cert"), *(further if isinstance(further, list) else ())):
            replaced = self._resolver.replace(text)
            if isinstance(text, str) and not replaced.faults and not replaced.open:
                yield replaced.value

    def _drop_outdated(self) -> None:
        now = time.time()
        told: dict[bytes, bytes | None] = {}
        for key, staple in self._staples.items():
            if staple.response is not None and staple.until <= now:
                log.error("ssls/%s: the OCSP response has run out; the certificate is shown without", staple.item)
                staple.response, staple.until = None, 0.0
                told[key] = None
        if told:
            self._tell(told)

    # ---- asking

    def _ask_due(self) -> None:
        now = time.time()
        for key, staple in self._staples.items():
            if staple.asked is None and staple.due <= now:
                task = asyncio.create_task(self._ask(key, staple), name=f"ask for the staple of ssls/{staple.item}")
                staple.asked = task
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _ask(self, key: bytes, staple: _Staple) -> None:
        # Imported at the first question, as aiohttp is: few gateways ask any, and all would start later for it.
        from bascule.control.ocsp import OcspFailure

        try:
            async with self._free:
                response, until = await self._fetch(staple)
        except OcspFailure as failure:
            self._note_failure(staple, str(failure))
        except Exception as error:  # a mistake in a library, or in an answer that nobody thought of
            log.exception("ssls/%s: internal error while asking for its OCSP response", staple.item)
            self._note_failure(staple, f"internal error: {type(error).__name__}")
        else:
            if staple.failures:
                log.warning("ssls/%s: its OCSP response is there again", staple.item)
            now = time.time()
            if until is None:
                staple.until = now + 2 * staple.conf.cache_ttl
            else:
                staple.until = until.timestamp()
            staple.failures, staple.trouble = 0, None
            staple.due = now + max(SOONEST_S, min(staple.conf.cache_ttl, (staple.until - now) / 2))
            if response != staple.response:
                staple.response = response
                self._tell({key: response})
        finally:
            staple.asked = None
            self._woken.set()

    async def _fetch(self, staple: _Staple) -> tuple[bytes, datetime | None]:
        from aiohttp import ClientError, ClientSession, ClientTimeout

        from bascule.control.ocsp import OcspFailure, judge, question

        asked = question(staple.chain)
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=ANSWER_S))
        headers = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
        try:
            async with self._session.post(asked.url, data=asked.body, headers=headers) as answer:
                if answer.status != 200:
                    raise OcspFailure(f"{asked.url} answers {answer.status}")
                body = b""
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > LARGEST:
                        raise OcspFailure(f"{asked.url} answers with more than {LARGEST} bytes")
        except TimeoutError:
            raise OcspFailure(f"{asked.url} doesn't answer within {ANSWER_S:g} s") from None
        except (ClientError, OSError) as error:
            raise OcspFailure(f"{asked.url}: {error}") from None
        return body, judge(asked, body, datetime.now(UTC), skip_verify=staple.conf.skip_verify)

    def _note_failure(self, staple: _Staple, why: str) -> None:
        sentence = f"no OCSP response: {why}"
        if staple.trouble != sentence:
            log.error("ssls/%s: %s", staple.item, sentence)
        staple.trouble = sentence
        staple.due = time.time() + min(self._longest_retry_s, self._retry_s * 2 ** min(staple.failures, 20))
        staple.failures += 1


def _asks(value: Any) -> bool:
    if not isinstance(value, dict) or value.get("status", 1) != 1 or value.get("type") == "client":
        return False
    stapling = value.get("ocsp_stapling")
    return isinstance(stapling, dict) and stapling.get("enabled") is True
