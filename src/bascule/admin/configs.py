"""Everything at once: the whole configuration as a document, and a document put in its place, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bascule.admin.diff import HIDDEN, Place, at, replaced
from bascule.admin.document import document_of
from bascule.admin.plan import PlannedStep, SecretPlaces, plan, plan_id, summary
from bascule.admin.whole import Item, Keeper, Replacement, Whole
from bascule.admin.whole_check import of_plugins, whole_faults
from bascule.errors.fault import Fault
from bascule.errors.sentences import json_path
from bascule.store.entry import Conflict, Origin, StoreUnavailable
from bascule.store.standalone import Item as StandaloneItem
from bascule.store.standalone import read_standalone

Check = Callable[[str, str, Any], list[Fault]]
MakeMark = Callable[[Whole, Mapping[Item, Mapping[str, Any]]], Mapping[str, Any]]
_TWICE = "found duplicate"
ATTEMPTS = 5  # at a write that others come before


@dataclass(frozen=True, slots=True)
class ItemFault:
    """`index`: the item's position in its list of the document; None when it stands in none."""

    kind: str
    id: str | None
    index: int | None
    fault: Fault

    def told(self) -> dict[str, Any]:
        """As the Admin API answers: APISIX's members, and the place and sentence of our own."""
        fault = self.fault
        place = "" if self.index is None else f"$.{self.kind}[{self.index}]"
        found = {
            "resource_type": self.kind,
            "resource_id": self.id,
            "index": self.index,
            "error": fault.text,
            "path": place + (fault.path.removeprefix("$") if place else fault.path),
            "message": fault.sentence,
        }
        return {key: value for key, value in found.items() if value is not None}


class ConfigsRefused(Exception):
    """A document can't be put in place; every fault of it."""

    def __init__(self, faults: Iterable[ItemFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(item.fault.text for item in self.faults))


@dataclass(frozen=True, slots=True)
class Applied:
    """`revision`: of the store afterwards, or (a dry run) that the plan is against."""

    revision: int
    steps: tuple[PlannedStep, ...]
    dry_run: bool

    @property
    def plan_id(self) -> str:
        """The same for the same plan, and for no other."""
        return plan_id(self.steps)

    def told(self) -> dict[str, Any]:
        """As the Admin API answers."""
        counts = {"dry_run": self.dry_run, "revision": self.revision, "plan_id": self.plan_id, **summary(self.steps)}
        return {**counts, "plan": [step.told() for step in self.steps]}


class PlanChanged(Exception):
    """It isn't the plan any more that somebody agreed to. `now`: what it is, a dry run."""

    def __init__(self, now: Applied) -> None:
        super().__init__("the configuration has changed since this plan was made")
        self.now = now


@dataclass(frozen=True, slots=True)
class _How:
    origin: Origin
    prune: bool
    dry_run: bool
    mark: MakeMark | None = None
    plugins: Any = None
    agreed: str | None = None
    restored: bool = False


class Configs:
    """`check` tells what is wrong with one resource by itself; it may block."""

    def __init__(self, keeper: Keeper, check: Check, secrets: SecretPlaces) -> None:
        self._keeper = keeper
        self._check = check
        self._secrets = secrets

    async def read(self) -> Whole:
        return await self._keeper.read()

    async def check(self, document: Any) -> list[ItemFault]:
        """What is wrong with the resources of a document, each by itself. May raise StoreUnavailable."""
        items, faults = read_document(document)
        given = {(item.kind, item.id): item for item in items}
        values = {key: item.value for key, item in given.items()}
        _, wrong = await asyncio.to_thread(self._checked, values, Whole())
        return [*faults, *_placed(wrong, given)]

    async def apply(
        self,
        document: Any,
        origin: Origin,
        *,
        prune: bool,
        dry_run: bool = False,
        mark: MakeMark | None = None,
        agreed: str | None = None,
    ) -> Applied:
        """`document`: in the standalone form. `prune`: what it doesn't have is deleted. `mark`: makes what is kept
        beside the resources from what was and what will be there. `agreed`: the id of the plan that this must come to,
        else PlanChanged is raised. Raises ConfigsRefused, Conflict, StoreUnavailable."""
        items, faults = read_document(document)
        plugins = document.get("plugins") if isinstance(document, dict) else None
        if plugins is not None and not self._keeper.takes_plugins:
            faults.append(_no_plugins())
        given = {(item.kind, item.id): item for item in items}
        values = {key: item.value for key, item in given.items()}
        how = _How(origin, prune, dry_run, mark, plugins, agreed)
        return await self._put(values, given, faults, how)

    async def restore(
        self, items: Mapping[Item, Mapping[str, Any]], origin: Origin, *, dry_run: bool, agreed: str | None = None
    ) -> Applied:
        """Puts exactly these resources in place: of an older revision. Raises as `apply`."""
        how = _How(origin, True, dry_run, agreed=agreed, restored=True)
        return await self._put(items, {}, [], how)

    async def _put(
        self,
        values: Mapping[Item, Mapping[str, Any]],
        given: Mapping[Item, StandaloneItem],
        faults: list[ItemFault],
        how: _How,
    ) -> Applied:
        attempt = 1
        while True:
            before = await self._keeper.read()
            if before.trouble is not None and not how.prune:
                raise StoreUnavailable(before.trouble)
            desired, wrong = await asyncio.to_thread(self._checked, values, before)
            whole = desired if how.prune else {**before.items, **desired}
            between: list[tuple[Item, Fault]] = []
            if not any(
                fault.fault.text.startswith(_TWICE) for fault in faults
            ):  # else it isn't clear what refers to what
                between = await asyncio.to_thread(_faults_between, whole, before, how.restored)
            found = [*faults, *_placed([*wrong, *between], given)]
            if found:
                raise ConfigsRefused(found)
            steps = await asyncio.to_thread(plan, before.items, desired, self._secrets, prune=how.prune)
            planned = Applied(before.revision, tuple(steps), True)
            if how.agreed is not None and planned.plan_id != how.agreed:
                raise PlanChanged(planned)
            if how.dry_run:
                return planned
            kept = None if how.mark is None else how.mark(before, whole)
            listed = how.plugins if how.prune or how.plugins is not None else before.plugins
            try:
                revision = await self._keeper.write(Replacement(before, steps, whole, how.origin, kept, listed))
            except Conflict:
                if attempt == ATTEMPTS:
                    raise
                attempt += 1
                continue
            return Applied(revision, tuple(steps), False)

    def _checked(
        self, values: Mapping[Item, Mapping[str, Any]], before: Whole
    ) -> tuple[dict[Item, Mapping[str, Any]], list[tuple[Item, Fault]]]:
        """The resources, each with the present secret where it hides one, and what is wrong with them by themselves."""
        found: dict[Item, Mapping[str, Any]] = {}
        faults: list[tuple[Item, Fault]] = []
        for item, value in values.items():
            present = before.items.get(item, {})
            for place in self._secrets(item[0], value):
                if at(value, place) == HIDDEN:
                    secret = at(present, place)
                    if isinstance(secret, str):
                        value = replaced(value, place, secret)
                    else:
                        faults.append((item, _nothing_hidden(place)))
            found[item] = value
            faults += [(item, fault) for fault in self._check(*item, value)]
        return found, faults


def exported(whole: Whole, secrets: SecretPlaces | None = None, *, times: bool = False) -> dict[str, Any]:
    """The document of a configuration. `secrets`: the places of what is to be
    hidden; None: nothing is."""
    items: dict[Item, Mapping[str, Any]] = {}
    for item, value in whole.items.items():
        items[item] = value if secrets is None else hidden(item[0], value, secrets)
    return document_of(items, times=times)


def hidden(kind: str, value: Mapping[str, Any], secrets: SecretPlaces) -> Mapping[str, Any]:
    """With HIDDEN in the place of each secret."""
    for place in secrets(kind, value):
        value = replaced(value, place, HIDDEN)
    return value


def read_document(document: Any) -> tuple[list[StandaloneItem], list[ItemFault]]:
    """The resources of a document, and what is wrong with its form."""
    if document is not None and not isinstance(document, dict):
        return [], [ItemFault("", None, None, Fault("$", "must be an object of lists", "must be an object", ""))]
    found = read_standalone(document)
    lists = (document or {}).items()
    twice = {(kind, fault.index): fault for kind, items in lists for fault in _duplicates(kind, items)}
    faults: list[ItemFault] = []
    for place, sentence in found.faults:
        kind = str(place[0])
        index = place[1] if len(place) > 1 and isinstance(place[1], int) else None
        path = f"$.{kind}" if index is None else "$"
        plain = ItemFault(kind, None, index, Fault(path, sentence, f"{kind}: {sentence}", ""))
        faults.append(twice.get((kind, index), plain))
    return found.items, faults


def _duplicates(kind: str, items: Any) -> Iterable[ItemFault]:
    """In APISIX's words."""
    first: dict[str, int] = {}
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if not isinstance(item, dict):
            continue
        id = item.get("id")
        what = "id"
        if kind == "consumers":
            what = "credential id" if isinstance(id, str) and "/" in id else "username"
            id = id if what == "credential id" else item.get("username")
        if not isinstance(id, str | int) or isinstance(id, bool):
            continue
        before = first.setdefault(str(id), index)
        if before != index:
            sentence = f'the id "{id}" is taken by $.{kind}[{before}]'
            yield ItemFault(kind, str(id), index, Fault("$", sentence, f"{_TWICE} {what} {id} in {kind}", ""))


def _faults_between(whole: Mapping[Item, Mapping[str, Any]], before: Whole, restored: bool) -> list[tuple[Item, Fault]]:
    """Those that weren't there before; of what is `restored`, plugins' references count no more than they did then."""
    found = list(whole_faults(whole))
    if found:
        known = {(item, fault.path, fault.text) for item, fault in whole_faults(before.items)}
        found = [(item, fault) for item, fault in found if (item, fault.path, fault.text) not in known]
    return [(item, fault) for item, fault in found if not restored or not of_plugins(fault)]


def _placed(faults: Iterable[tuple[Item, Fault]], given: Mapping[Item, StandaloneItem]) -> list[ItemFault]:
    found = []
    for item, fault in faults:
        standing = given.get(item)
        if standing is None:
            found.append(ItemFault(*item, None, fault))
        else:
            found.append(ItemFault(_list_of(standing), item[1], int(standing.place[1]), fault))
    return found


def _list_of(item: StandaloneItem) -> str:
    return str(item.place[0])


def _no_plugins() -> ItemFault:
    sentence = "the list of enabled plugins stands in config.yaml, unless the resources come from a file"
    return ItemFault("plugins", None, None, Fault("$.plugins", sentence, f"plugins: {sentence}", ""))


def _nothing_hidden(place: Place) -> Fault:
    return Fault(json_path(place), f'says "{HIDDEN}", and there is no secret to keep', "there is no secret to keep", "")
