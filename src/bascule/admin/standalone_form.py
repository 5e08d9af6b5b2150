"""APISIX's API-driven standalone mode over any place where the configuration is kept: all of it is read and replaced as
one document, with a digest that the client chose and a version for each kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from bascule.admin.answer import Answer, Refusal, refuse
from bascule.admin.configs import Applied, Configs, ConfigsRefused, ItemFault, PlanChanged, exported
from bascule.admin.document import BodyRefused, as_json, as_yaml, document_of, parse_body
from bascule.admin.permit import Permit
from bascule.admin.plan import SecretPlaces
from bascule.admin.whole import Item, Whole
from bascule.errors.fault import Fault
from bascule.store.entry import Conflict, Origin, StoreUnavailable
from bascule.store.keys import KINDS

_VERSION = "_conf_version"
YAML = "application/yaml"


class StandaloneForm:
    """No method raises anything but Refusal. `clock`: Unix seconds."""

    def __init__(self, configs: Configs, secrets: SecretPlaces, *, clock: Callable[[], float]) -> None:
        self._configs = configs
        self._secrets = secrets
        self._clock = clock

    async def get(
        self, permit: Permit, accept: str, *, whole: Whole | None = None, times: bool = False, hide: bool = False
    ) -> Answer:
        """`whole`: another than the present one, which then has no digest. Secrets are hidden from who only reads, and
        from who wants to `hide` them."""
        permit.check_everything()
        present = whole is None
        try:
            shown = await self._configs.read() if whole is None else whole
        except StoreUnavailable as error:
            raise refuse(503, str(error)) from None
        if shown.trouble is not None:
            raise refuse(503, shown.trouble)
        document = exported(shown, self._secrets if permit.reads_only or hide else None, times=times)
        if shown.plugins is not None:
            document = {"plugins": shown.plugins, **document}
        if present:
            document |= {kind + _VERSION: number for kind, number in _versions(shown).items()}
        headers = _headers(shown) if present else {}
        if "yaml" in accept:
            return Answer(200, as_yaml(document, end=False).decode(), headers={**headers, "Content-Type": YAML})
        return Answer(200, document, headers=headers)

    async def put(
        self, permit: Permit, body: bytes, content_type: str, digest: str | None, *, dry_run: bool = False
    ) -> Answer:
        """Replaces everything."""
        permit.check_everything()
        if not digest and not dry_run:
            raise refuse(400, "missing digest header")
        document = self._document(body, content_type)
        try:
            present = await self._configs.read()
            if not dry_run and _digest(present) == digest:
                return Answer(204, headers=_headers(present))
            self._check_versions(document, present)

            def mark(before: Whole, items: Mapping[Item, Mapping[str, Any]]) -> dict[str, Any]:
                versions = {
                    kind: document.get(kind + _VERSION, number + 1) for kind, number in _versions(before).items()
                }
                when = int(self._clock())
                return {"digest": digest, "last_modified": when, "versions": versions, "content": content_of(items)}

            applied = await self._apply(document, permit, prune=True, dry_run=dry_run, mark=mark)
            if dry_run:
                return Answer(200, applied.told())
            return _accepted(applied, _headers(await self._configs.read()))
        except StoreUnavailable as error:
            raise refuse(503, str(error)) from None

    async def post(
        self, permit: Permit, body: bytes, content_type: str, *, prune: bool, dry_run: bool, **more: Any
    ) -> Answer:
        """Applies many resources in one step; `prune`: the others are deleted. `more`: `note` and `agreed`."""
        permit.check_everything()
        document = self._document(body, content_type)
        try:
            applied = await self._apply(document, permit, prune=prune, dry_run=dry_run, **more)
        except StoreUnavailable as error:
            raise refuse(503, str(error)) from None
        return Answer(200, applied.told()) if dry_run else _accepted(applied, {}, 200)

    async def validate(self, permit: Permit, body: bytes, content_type: str) -> Answer:
        """Each resource by itself; stores nothing. What a document refers to may be there already."""
        document = self._document(body, content_type)
        faults = [
            ItemFault(kind, None, None, Fault(f"$.{kind}{_VERSION}", wrong, f"{kind}{_VERSION} {wrong}", ""))
            for kind in KINDS
            if (wrong := _wrong_version(document.get(kind + _VERSION))) is not None
        ]
        faults += await self._configs.check(document)
        if not faults:
            return Answer(200, {})
        # APISIX tells one error of each resource; all of them are told to who takes problems.
        first = {(item.kind, item.index): item for item in reversed(faults)}
        told = [first[place].told() for place in sorted(first, key=lambda place: (place[0], place[1] or 0))]
        answer = {"error_msg": "Configuration validation failed", "errors": told}
        return Answer(400, answer, faults=tuple(map(_placed, faults)))

    def _document(self, body: bytes, content_type: str) -> dict[str, Any]:
        try:
            document = parse_body(body, content_type)
        except BodyRefused as error:
            raise refuse(400, f"invalid request body: {error}") from None
        if document is None:
            return {}
        if not isinstance(document, dict):
            raise refuse(400, "invalid request body: must be an object of lists")
        return document

    def _check_versions(self, document: Mapping[str, Any], present: Whole) -> None:
        versions = _versions(present)
        for kind, least in versions.items():
            given = document.get(kind + _VERSION)
            wrong = _wrong_version(given)
            if wrong is not None:
                raise refuse(400, f"{kind}{_VERSION} {wrong}")
            if given is not None and given < least:
                raise refuse(400, f"{kind}{_VERSION} must be greater than or equal to ({least})")

    async def _apply(self, document: Mapping[str, Any], permit: Permit, *, note: str = "", **how: Any) -> Applied:
        try:
            return await self._configs.apply(document, Origin(permit.name, note), **how)
        except ConfigsRefused as refused:
            raise configs_refusal(refused) from None
        except PlanChanged as changed:
            raise plan_refusal(changed) from None
        except Conflict as conflict:
            raise refuse(503, str(conflict)) from None


def configs_refusal(refused: ConfigsRefused) -> Refusal:
    """In APISIX's shape: its words for the first fault, and all of them when there are several."""
    body: dict[str, Any] = {"error_msg": refused.faults[0].fault.error_msg}
    if len(refused.faults) > 1:
        body["errors"] = [fault.told() for fault in refused.faults]
    return Refusal(Answer(400, body, faults=tuple(map(_placed, refused.faults))))


def plan_refusal(changed: PlanChanged) -> Refusal:
    """With what the plan is now."""
    return Refusal(Answer(409, {"error_msg": str(changed), **changed.now.told()}))


def content_of(items: Mapping[Item, Mapping[str, Any]]) -> str:
    """Tells whether anything was changed since."""
    return hashlib.blake2b(as_json(document_of(items)), digest_size=16).hexdigest()


def _placed(item: ItemFault) -> Fault:
    """With its place in the whole document."""
    told = item.told()
    return Fault(told["path"], told["message"], told["error"], "")


def _accepted(applied: Applied, headers: Mapping[str, str], status: int = 202) -> Answer:
    told = applied.told()
    del told["dry_run"]
    return Answer(status, told, applied.revision or None, headers=headers)


def _wrong_version(value: Any) -> str | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        return "must be a number"
    return None


def _versions(whole: Whole) -> dict[str, int]:
    """By kind; of a configuration that nobody replaced as a whole yet, 0."""
    known = whole.mark.get("versions")
    numbers = known if isinstance(known, dict) else {}
    return {kind: numbers[kind] if isinstance(numbers.get(kind), int) else 0 for kind in KINDS}


def _digest(whole: Whole) -> str | None:
    """Of the client that replaced everything last; None once anything has changed since."""
    digest = whole.mark.get("digest")
    if not isinstance(digest, str) or whole.mark.get("content") != content_of(whole.items):
        return None
    return digest


def _headers(whole: Whole) -> dict[str, str]:
    digest = _digest(whole)
    return {} if digest is None else {"X-Digest": digest, "X-Last-Modified": str(whole.mark.get("last_modified"))}
