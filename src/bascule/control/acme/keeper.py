"""Keeps the certificates that `bascule.acme` names: obtains them, renews them in time, tells workers.

One after the other, in one task: an authority is asked for one certificate at a time. What can't be had is tried again,
later each time, and what there is goes on serving meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from bascule.control.acme.certificate_folder import CertificateFolder, Obtained, folder_of
from bascule.control.acme.challenges import Challenges, answered
from bascule.errors.config_error import ConfigError, ConfigRefused
from bascule.model.acme_settings import AcmeSection
from bascule.model.change import Change
from bascule.model.ssl import OBTAINED
from bascule.observe.metrics import Metrics

if TYPE_CHECKING:
    from bascule.control.acme.authority import Authority

log = logging.getLogger("bascule.acme")
T = TypeVar("T")

LONGEST_PAUSE_S = 6 * 3600.0
LOOK_S = 60.0  # at the clock, at least so often: it may be set, and machines sleep
WORKERS_S = 30.0  # for workers to be ready for the authority


def check(section: AcmeSection, folder: str, file: str) -> None:
    """Whether what the section asks for can be done here. Raises ConfigRefused."""
    if not section.names:
        return
    if importlib.util.find_spec("acme") is None:
        text = "needs a library that isn't installed: pip install 'bascule[acme]'"
        raise ConfigRefused([ConfigError("", None, "$.bascule.acme", text, file)])
    if section.ca_file is not None and not os.access(os.path.join(folder, section.ca_file), os.R_OK):
        text = f"{os.path.join(folder, section.ca_file)} can't be read"
        raise ConfigRefused([ConfigError("", None, "$.bascule.acme.ca_file", text, file)])


@dataclass(slots=True)
class _Certificate:
    """`due`: when to ask for a new one, in seconds since 1970; `trouble`: why the last try failed."""

    names: tuple[str, ...]
    obtained: Obtained | None = None
    due: float = 0.0
    failures: int = 0
    trouble: str | None = None

    @property
    def id(self) -> str:
        return OBTAINED + self.names[0]


class AcmeKeeper:
    """`folder`: the store's. `tell`: changes of `ssls` items; `tell_challenges`: what workers are to answer from now
    on; `told`: waits until they do."""

    def __init__(
        self,
        section: AcmeSection,
        folder: Path,
        *,
        ca_file: str | None,
        agent: str,
        tell: Callable[[list[Change]], None],
        tell_challenges: Callable[[Challenges], None],
        told: Callable[[], Awaitable[None]],
    ) -> None:
        self.section = section
        self.challenges = Challenges()
        self._folder = CertificateFolder(folder_of(folder, section.directory))
        self._ca_file = ca_file
        self._agent = agent
        self._tell = tell
        self._tell_challenges = tell_challenges
        self._told = told
        self._certificates = [_Certificate(names) for names in section.names]
        self._authority: Authority | None = None
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        there = sum(one.obtained is not None for one in self._certificates)
        return f"<acme keeper: {there} of {len(self._certificates)} certificates>"

    # ---- life

    def load(self) -> list[Change]:
        """What was obtained before, as changes for workers."""
        for one in self._certificates:
            one.obtained = self._folder.read(one.names[0])
            one.due = self._due(one)
        return [_change(one.id, one.obtained) for one in self._certificates if one.obtained is not None]

    def unload(self, successor: AcmeKeeper) -> list[Change]:
        """What that one doesn't have any more."""
        kept = {one.id for one in successor._certificates}
        gone = [one.id for one in self._certificates if one.obtained is not None and one.id not in kept]
        return [Change("ssls", id, None) for id in gone]

    def start(self) -> None:
        if self._certificates and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="keep certificates")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def details(self) -> list[dict[str, Any]]:
        """For the status server."""
        return [
            {
                "names": one.names,
                "until": None if one.obtained is None else _date(one.obtained.until),
                "next": _date(one.due) if one.due else None,
                "trouble": one.trouble,
            }
            for one in self._certificates
        ]

    def set_metrics(self, metrics: Metrics) -> None:
        text = "End of a certificate that was obtained by ACME, in seconds since 1970"
        family = metrics.gauge("bascule_certificate_expiry_seconds", text, ("name",))
        family.clear()
        for one in self._certificates:
            if one.obtained is not None:
                for name in one.obtained.names:
                    family.child((name,)).set(one.obtained.until)

    # ---- obtaining

    async def _run(self) -> None:
        while True:
            next_one = min(self._certificates, key=lambda one: one.due)
            wait_s = next_one.due - time.time()
            if wait_s > 0:
                await asyncio.sleep(min(wait_s, LOOK_S))
            else:
                await self._renew(next_one)

    async def _renew(self, one: _Certificate) -> None:
        from bascule.control.acme.authority import AcmeFailure

        named = ", ".join(one.names)
        try:
            obtained = await self._obtain(one.names)
            self._folder.write(one.names[0], obtained)
        except AcmeFailure as failure:
            self._failed(one, str(failure), failure.retry_after_s)
        except OSError as error:
            self._failed(one, f"{error.filename}: {(error.strerror or str(error)).lower()}", None)
        except Exception as error:  # a mistake in a library, or in an answer that nobody thought of
            log.exception("certificate for %s: internal error", named)
            self._failed(one, f"internal error: {type(error).__name__}", None)
        else:
            renewed = "obtained" if one.obtained is None else "renewed"
            one.obtained, one.failures, one.trouble = obtained, 0, None
            one.due = self._due(one)
            log.warning("certificate for %s: %s, valid until %s", named, renewed, _date(obtained.until))
            self._tell([_change(one.id, obtained)])

    async def _obtain(self, names: Sequence[str]) -> Obtained:
        if self._authority is None:
            from bascule.control.acme.authority import Authority

            self._authority = Authority(self.section, self._folder, self._ca_file, self._agent)
        authority = self._authority
        log.info("certificate for %s: asking %s", ", ".join(names), urlsplit(self.section.directory).netloc)
        order = await _in_thread(lambda: authority.order(names))
        try:
            if order.pending:
                self._answer(answered(order.pending, self.section.challenge))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(WORKERS_S):
                        await self._told()
            return await _in_thread(lambda: authority.fetch(order))
        finally:
            if order.pending:
                self._answer(Challenges())

    def _answer(self, challenges: Challenges) -> None:
        self.challenges = challenges
        self._tell_challenges(challenges)

    def _failed(self, one: _Certificate, sentence: str, retry_after_s: float | None) -> None:
        pause_s = min(LONGEST_PAUSE_S, self.section.retry * 2 ** min(one.failures, 20)) * random.uniform(1, 1.2)
        if retry_after_s is not None:
            pause_s = max(pause_s, retry_after_s)
        one.failures += 1
        one.trouble = sentence
        one.due = time.time() + pause_s
        log.error("certificate for %s: %s; tried again in %.0f s", ", ".join(one.names), sentence, pause_s)

    def _due(self, one: _Certificate) -> float:
        """A third of its life before its end, or as configured; a little earlier, so that not all come at once."""
        found = one.obtained
        if found is None or set(found.names) != set(one.names):
            return 0.0
        life_s = found.until - found.since
        before_s = min(self.section.renew_before or life_s / 3, life_s / 2)
        return found.until - before_s - random.uniform(0, before_s / 10)


def _change(id: str, obtained: Obtained) -> Change:
    return Change("ssls", id, {"snis": list(obtained.names), "cert": obtained.chain, "key": obtained.key})


def _date(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _in_thread(call: Callable[[], T]) -> T:
    """In a thread that nobody waits for at the end of the process: an authority may be slow to answer."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as failed:
            error = failed
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="acme", daemon=True).start()
    return await future
