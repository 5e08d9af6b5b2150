"""The revisions of a store that keeps them: what each changed, what lies between two, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bascule.admin.configs import Applied, Configs
from bascule.admin.plan import PlannedStep, SecretPlaces, plan
from bascule.admin.whole import Item, StoreKeeper, Whole
from bascule.store.entry import ChangedKey, Ledger, Origin, Revision
from bascule.store.keys import kind_and_id

NO_HISTORY = "the store keeps no history: only the embedded one does (config_provider: sqlite)"


class NoRevision(LookupError):
    """The text says which revision isn't there, and why."""


@dataclass(frozen=True, slots=True)
class Told:
    """A revision with what it changed."""

    revision: Revision
    steps: tuple[PlannedStep, ...]

    def told(self, *, differences: bool) -> dict[str, Any]:
        """As the Admin API answers."""
        changes = [step.told() for step in self.steps]
        if not differences:
            changes = [{key: change[key] for key in ("action", "kind", "id")} for change in changes]
        number, time, origin = self.revision.number, self.revision.time, self.revision.origin
        return {"revision": number, "time": time, "actor": origin.actor, "note": origin.note, "changes": changes}


class History:
    def __init__(self, ledger: Ledger, keeper: StoreKeeper, configs: Configs, secrets: SecretPlaces) -> None:
        self._ledger = ledger
        self._keeper = keeper
        self._configs = configs
        self._secrets = secrets

    async def page(self, *, limit: int = 50, before: int | None = None, prefix: str = "") -> list[Told]:
        """Newest first. `prefix`: of keys ("routes/1"); only revisions that changed such a one."""
        found = await self._ledger.history(before=before, limit=limit, prefix=prefix)
        return [self._told(revision) for revision in found]

    async def one(self, number: int) -> Told:
        """Raises NoRevision."""
        found = await self._ledger.history(before=number + 1, limit=1)
        if not found or found[0].number != number:
            raise NoRevision(await self._why_not(number))
        return self._told(found[0])

    async def between(self, first: int, second: int | None = None) -> list[PlannedStep]:
        """What leads from one revision to another, by default the latest. Raises NoRevision."""
        before = await self.at(first)
        after = await (self._configs.read() if second is None else self.at(second))
        return plan(before.items, after.items, self._secrets)

    async def at(self, number: int) -> Whole:
        """Everything as it was then. Raises NoRevision."""
        try:
            state = await self._ledger.state(number)
        except LookupError:
            raise NoRevision(await self._why_not(number)) from None
        return Whole(self._keeper.unsealed(state), number)

    async def rollback(self, number: int, actor: str, *, dry_run: bool = False, agreed: str | None = None) -> Applied:
        """A new revision with the resources of an old one. Raises NoRevision, and as `Configs.restore`."""
        whole = await self.at(number)
        origin = Origin(actor, f"rollback to revision {number}")
        return await self._configs.restore(whole.items, origin, dry_run=dry_run, agreed=agreed)

    async def _why_not(self, number: int) -> str:
        latest = await self._ledger.revision()
        if number > latest:
            return f"there is no revision {number} yet; the latest is {latest}"
        return f"the history doesn't reach back to revision {number}"

    def _told(self, revision: Revision) -> Told:
        before: dict[Item, Mapping[str, Any]] = {}
        after: dict[Item, Mapping[str, Any]] = {}
        for change in revision.changes:
            item = kind_and_id(change.key)
            if item is not None:
                self._side(before, item, change, change.before)
                self._side(after, item, change, change.after)
        return Told(revision, tuple(plan(before, after, self._secrets)))

    def _side(self, side: dict[Item, Mapping[str, Any]], item: Item, change: ChangedKey, value: bytes | None) -> None:
        if value is not None:
            side.update(self._keeper.unsealed({change.key: value}))
