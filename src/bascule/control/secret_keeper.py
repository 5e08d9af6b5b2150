"""What `$secret://` and `$file://` references stand for: fetched from secret managers and files, kept, and asked for
again in time.

Workers are told each answer before the change that needs it, if the manager is quick enough, and each later one when
it comes. A manager that doesn't answer takes nothing away: what it said before goes on counting. One that answers that
there is no such secret does. Nothing of what secrets hold is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from bascule.control.configuration import PackedChange
from bascule.control.secret_managers.files import FORM as FILE_FORM
from bascule.control.secret_managers.files import Files, path_of
from bascule.control.secret_managers.manager import SecretFailure, SecretManager
from bascule.errors.sentences import sentences
from bascule.model.change import Change
from bascule.model.secret import MANAGERS, AwsSecret, GcpSecret, VaultSecret
from bascule.snapshot.references import (
    Resolver,
    Unresolved,
    from_environment,
    is_fetched,
    is_file,
    may_refer,
    secrets_in,
)

if TYPE_CHECKING:
    from aiohttp import ClientSession

log = logging.getLogger("bascule.secrets")

Answer = str | Unresolved
Item = tuple[str, str]
FIRST_RETRY_S = 1.0
_MENTIONED = re.compile(rb'"\$(secret|file)://', re.IGNORECASE)
FILES = "files"  # stands where others name their manager
FORM = 'must have the form $secret://manager/id/key with a manager "vault", "aws" or "gcp"'


def _references(value: Any) -> frozenset[str]:
    """Walking through 100,000 values would take a second; writing them as JSON takes a tenth of that."""
    try:
        if not _MENTIONED.search(orjson.dumps(value)):
            return frozenset()
    except TypeError:  # no JSON: refused by whoever uses it
        return frozenset()
    return frozenset(secrets_in(value))


@dataclass(slots=True)
class _Entry:
    """`manager`: "vault/1" or "files", None for a reference that can't be one; `due`: when to ask next; `trouble`: why
    it could not be asked for anew."""

    manager: str | None
    key: str
    users: int = 0
    answer: Answer | None = None
    due: float = 0.0
    failures: int = 0
    trouble: str | None = None
    asked: asyncio.Task[None] | None = None


class SecretKeeper:
    """`tell` is given what has changed: reference -> text, or why there is none. What was fetched is asked for again
    after `refresh_s`; what could not be fetched after 1 s, 2 s, and so on up to `retry_s`. Files are looked at every
    `files_s`."""

    def __init__(
        self,
        tell: Callable[[dict[str, Answer]], None],
        environ: Mapping[str, str],
        *,
        refresh_s: float = 300.0,
        retry_s: float = 60.0,
        files_s: float = 1.0,
    ) -> None:
        self._tell = tell
        self._resolve_here = from_environment(environ)
        self._environment = Resolver(self._resolve_here)
        self._refresh_s = refresh_s
        self._retry_s = retry_s
        self._files_s = files_s
        self._files = Files()
        self._entries: dict[str, _Entry] = {}
        self._held: dict[Item, frozenset[str]] = {}
        self._resources: dict[str, Any] = {}  # "vault/1" -> its value
        self._managers: dict[str, SecretManager[Any]] = {}
        self._session: ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<secret keeper: {len(self._entries)} references, {len(self._resources)} managers>"

    # ---- what others ask

    @property
    def answers(self) -> dict[str, Answer]:
        """All that is known now, for a worker that starts."""
        return {reference: entry.answer for reference, entry in self._entries.items() if entry.answer is not None}

    def resolve(self, reference: str) -> Answer:
        """Any reference."""
        if not is_fetched(reference):
            return self._resolve_here(reference)
        entry = self._entries.get(reference)
        if entry is None or entry.answer is None:
            return Unresolved(f"{reference} was not asked for yet", open=True)
        return entry.answer

    def details(self) -> dict[str, Any]:
        """For the status server. `stale`: an earlier answer counts, since there was none anew."""
        unresolved, stale = [], []
        for reference, entry in self._entries.items():
            if isinstance(entry.answer, Unresolved):
                unresolved.append({"reference": reference, "message": entry.answer.sentence})
            elif entry.trouble is not None:
                stale.append({"reference": reference, "message": entry.trouble})
        return {"references": len(self._entries), "unresolved": unresolved, "stale": stale}

    # ---- what the configuration says

    async def take(self, changes: Iterable[Change], wait_s: float) -> None:
        """Before the changes go to workers: what they newly refer to is asked for, and waited for at most so long."""
        new: set[str] = set()
        for change in changes:
            if change.kind == "secrets":
                new |= self._use_manager(change.id, change.value)
            elif change.value is not None and (found := _references(change.value)):
                item = change.kind, change.id
                before = self._held.get(item, frozenset())
                self._held[item] = before | found
                self._files.note(item, [change.value], more=True)
                for reference in found - before:
                    new |= self._hold(reference)
        if not new:
            return
        self._ask_due()
        asked = {task for reference in new if (task := self._entries[reference].asked) is not None}
        if asked:
            await asyncio.wait(asked, timeout=wait_s)

    def settle(self, changes: Iterable[Change], versions: Callable[[str, str], Sequence[PackedChange]]) -> None:
        """After the changes were taken: forgets what no version of an item refers to any more. `versions(kind, id)`:
        those that workers may serve."""
        if not self._held:
            return
        for item in {(change.kind, change.id) for change in changes}:
            before = self._held.get(item)
            if before is None:
                continue
            packed = [one.value for one in versions(*item) if one.value is not None]
            values = [orjson.loads(value) for value in packed if may_refer(value)]
            found = frozenset(secrets_in(values))
            self._files.note(item, values)
            for reference in before - found:
                self._let_go(reference)
            if found:
                self._held[item] = found
            else:
                del self._held[item]

    async def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    # ---- references

    def _hold(self, reference: str) -> set[str]:
        """One more item refers to it; itself if it isn't known yet."""
        entry = self._entries.get(reference)
        if entry is not None:
            entry.users += 1
            return set()
        if is_file(reference):
            path = path_of(reference)
            if path is None:
                self._refuse(reference, FILE_FORM)
            else:
                self._entries[reference] = _Entry(FILES, path, 1)
            return {reference}
        manager, _, rest = reference.partition("://")[2].partition("/")
        id, _, key = rest.partition("/")
        if manager not in MANAGERS or not id or not key:
            self._refuse(reference, FORM)
        else:
            self._entries[reference] = _Entry(f"{manager}/{id}", key, 1)
        return {reference}

    def _refuse(self, reference: str, form: str) -> None:
        self._entries[reference] = _Entry(None, "", 1, Unresolved(f"{reference} {form}"))
        self._tell(self.answers_of([reference]))

    def answers_of(self, references: Iterable[str]) -> dict[str, Answer]:
        found = ((reference, self._entries[reference].answer) for reference in references)
        return {reference: answer for reference, answer in found if answer is not None}

    def _let_go(self, reference: str) -> None:
        entry = self._entries[reference]
        entry.users -= 1
        if not entry.users:
            del self._entries[reference]
            if entry.manager == FILES:
                self._files.forget(entry.key)

    def _use_manager(self, id: str, value: Any) -> set[str]:
        """A `secrets` resource came, changed or went; the references that lead to it."""
        if self._resources.get(id) == value:
            return set()
        if value is None:
            self._resources.pop(id, None)
        else:
            self._resources[id] = value
        self._managers.pop(id, None)
        concerned = {reference for reference, entry in self._entries.items() if entry.manager == id}
        for reference in concerned:
            entry = self._entries[reference]
            entry.due, entry.failures, entry.asked = 0.0, 0, None
        return concerned

    # ---- asking

    def _ask_due(self) -> None:
        """Asks for all that is due, in one round for each manager; sets the timer for the next."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        rounds: dict[str, list[str]] = {}
        for reference, entry in self._entries.items():
            if entry.manager is not None and entry.asked is None and entry.due <= now:
                rounds.setdefault(entry.manager, []).append(reference)
        for manager, references in rounds.items():
            task = loop.create_task(self._ask(manager, references), name=f"ask {manager} for secrets")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            for reference in references:
                self._entries[reference].asked = task
        waiting = [entry.due for entry in self._entries.values() if entry.manager is not None and entry.asked is None]
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(max(min(waiting), now + 0.01), self._ask_due) if waiting else None

    async def _ask(self, manager: str, references: list[str]) -> None:
        keys = {self._entries[reference].key for reference in references}
        found = await self._fetch(manager, keys)
        now = asyncio.get_running_loop().time()
        changed: dict[str, Answer] = {}
        failed: list[str] = []
        for reference in references:
            entry = self._entries.get(reference)
            if entry is None or entry.asked is not asyncio.current_task():
                continue  # forgotten, or the manager is another one now
            entry.asked = None
            before = entry.answer
            self._note(reference, entry, found[entry.key], now)
            if entry.failures == 1 and entry.trouble is not None:
                failed.append(entry.trouble)
            if entry.answer is not None and entry.answer != before:
                changed[reference] = entry.answer
        if failed:
            log.error("%s%s", failed[0], f" (and {len(failed) - 1} more)" if len(failed) > 1 else "")
        if changed:
            self._tell(changed)
        self._ask_due()

    async def _fetch(self, manager: str, keys: set[str]) -> dict[str, str | SecretFailure]:
        try:
            if manager == FILES:
                return await self._files.fetch(keys)
            return await self._manager(manager).fetch(keys)
        except SecretFailure as failure:
            return dict.fromkeys(keys, failure)
        except Exception as error:  # a mistake in a library, or in an answer that nobody thought of
            log.exception("secrets/%s: internal error", manager)
            return dict.fromkeys(keys, SecretFailure(f"internal error: {type(error).__name__}"))

    def _note(self, reference: str, entry: _Entry, found: str | SecretFailure, now: float) -> None:
        if isinstance(found, str):
            if entry.failures:
                log.warning("%s is resolved again", reference)
            elif isinstance(entry.answer, str) and entry.answer != found:
                log.warning("%s has changed", reference)
            entry.answer, entry.failures, entry.trouble = found, 0, None
            entry.due = self._next_look(now) if entry.manager == FILES else now + self._refresh_s
            return
        sentence = f"{reference} can't be resolved: {found}"
        if found.gone or not isinstance(entry.answer, str):
            entry.answer = Unresolved(sentence)
        entry.trouble = sentence
        retry_s = min(self._retry_s, FIRST_RETRY_S * 2 ** min(entry.failures, 20))
        entry.due = self._next_look(now) if entry.manager == FILES else now + retry_s
        entry.failures += 1

    def _next_look(self, now: float) -> float:
        """The same moment for all files: of a pair, both."""
        return (math.floor(now / self._files_s) + 1) * self._files_s

    def _manager(self, id: str) -> SecretManager[Any]:
        """Made when it is first asked. Raises SecretFailure."""
        found = self._managers.get(id)
        if found is None:
            found = self._managers[id] = self._make(id)
        return found

    def _make(self, id: str) -> SecretManager[Any]:
        kind = id.partition("/")[0]
        if id not in self._resources:
            raise SecretFailure(f"there is no secret manager secrets/{id}", gone=True)
        replaced = self._environment.replace(self._resources[id])
        if replaced.faults:
            raise SecretFailure(f"secrets/{id}: {replaced.faults[0][1]}")
        try:
            conf = MANAGERS[kind].model_validate(replaced.value)
        except ValidationError as error:
            path, sentence = sentences(error, replaced.value, MANAGERS[kind])[0]
            raise SecretFailure(f"secrets/{id} can't be used: {path}: {sentence}") from None
        # Imported once a manager is used: most gateways have none.
        if isinstance(conf, AwsSecret):
            from bascule.control.secret_managers.aws import Aws

            return Aws(conf)
        if self._session is None:
            from aiohttp import ClientSession

            self._session = ClientSession()
        if isinstance(conf, GcpSecret):
            from bascule.control.secret_managers.gcp import Gcp

            return Gcp(conf, self._session)
        assert isinstance(conf, VaultSecret)
        from bascule.control.secret_managers.vault import Vault

        return Vault(conf, self._session)
