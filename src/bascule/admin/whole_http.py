"""What of the Admin API concerns the whole configuration, over HTTP: /configs, /history, /diff, /rollback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bascule.admin.answer import Answer, Refusal, refuse
from bascule.admin.configs import ConfigsRefused, PlanChanged
from bascule.admin.history import NO_HISTORY, History, NoRevision
from bascule.admin.http import AdminRequest, Handler
from bascule.admin.plan import summary
from bascule.admin.standalone_form import StandaloneForm, configs_refusal, plan_refusal
from bascule.store.entry import Conflict, StoreUnavailable

MAX_DOCUMENT = 256 << 20  # bytes
_MOST = 1000  # revisions in one answer


class WholeApi:
    """`history` None: the store keeps none."""

    def __init__(self, form: StandaloneForm, history: History | None) -> None:
        self._form = form
        self._history = history

    def handlers(self) -> Sequence[tuple[str, Handler]]:
        return (
            ("configs", self.configs),
            ("history", self.history),
            ("diff", self.diff),
            ("rollback", self.rollback),
        )

    async def configs(self, request: AdminRequest) -> Answer:
        method, query = request.method, request.query
        if request.rest == ["validate"]:
            _only(request, "POST")
            body = await request.body(MAX_DOCUMENT)
            return await self._form.validate(request.permit, body, request.http.content_type)
        _no_rest(request)
        _only(request, "GET", "HEAD", "PUT", "POST")
        if method in ("GET", "HEAD"):
            whole = None
            if "revision" in query:
                whole = await self._at(_number(query["revision"], "revision"))
            accept = request.http.headers.get("Accept", "")
            how = {"times": _flag(request, "times"), "hide": _flag(request, "hide_secrets")}
            return await self._form.get(request.permit, accept, whole=whole, **how)
        body = await request.body(MAX_DOCUMENT)
        kind = request.http.content_type
        dry_run = _flag(request, "dry_run")
        if method == "PUT":
            digest = request.http.headers.get("X-Digest")
            return await self._form.put(request.permit, body, kind, digest, dry_run=dry_run)
        more = {"note": query.get("note", "")[:256], "agreed": query.get("plan_id")}
        prune = _flag(request, "prune")
        return await self._form.post(request.permit, body, kind, prune=prune, dry_run=dry_run, **more)

    async def history(self, request: AdminRequest) -> Answer:
        _only(request, "GET", "HEAD")
        history = self._kept(request)
        try:
            if request.rest:
                if len(request.rest) > 1:
                    _no_rest(request)
                return Answer(200, (await history.one(_number(request.rest[0], "revision"))).told(differences=True))
            query = request.query
            before = _number(query["before"], "before") if "before" in query else None
            limit = _number(query.get("limit", "50"), "limit")
            if not 1 <= limit <= _MOST:
                raise refuse(400, f"limit must be between 1 and {_MOST}")
            found = await history.page(limit=limit, before=before, prefix=query.get("prefix", ""))
        except NoRevision as error:
            raise refuse(404, str(error)) from None
        except StoreUnavailable as error:
            raise refuse(503, str(error)) from None
        return Answer(200, {"total": len(found), "list": [told.told(differences=False) for told in found]})

    async def diff(self, request: AdminRequest) -> Answer:
        """?from=REVISION[&to=REVISION]"""
        _only(request, "GET", "HEAD")
        _no_rest(request)
        history = self._kept(request)
        query = request.query
        if "from" not in query:
            raise refuse(400, "needs ?from=REVISION")
        first = _number(query["from"], "from")
        second = _number(query["to"], "to") if "to" in query else None
        try:
            steps = await history.between(first, second)
        except NoRevision as error:
            raise refuse(404, str(error)) from None
        except StoreUnavailable as error:
            raise refuse(503, str(error)) from None
        named: dict[str, Any] = {"from": first} if second is None else {"from": first, "to": second}
        return Answer(200, {**named, **summary(steps), "plan": [step.told() for step in steps]})

    async def rollback(self, request: AdminRequest) -> Answer:
        _only(request, "POST")
        _no_rest(request)
        history = self._kept(request)
        body = await request.json()
        if not isinstance(body, dict):
            raise refuse(400, 'needs a body like {"revision": 7}')
        number = body.get("revision")
        if isinstance(number, bool) or not isinstance(number, int):
            raise refuse(400, '"revision" must be the number of a revision')
        dry_run = body.get("dry_run") is True or _flag(request, "dry_run")
        try:
            applied = await history.rollback(
                number, request.permit.name, dry_run=dry_run, agreed=request.query.get("plan_id")
            )
        except NoRevision as error:
            raise refuse(404, str(error)) from None
        except ConfigsRefused as refused:
            raise configs_refusal(refused) from None
        except PlanChanged as changed:
            raise plan_refusal(changed) from None
        except (StoreUnavailable, Conflict) as error:
            raise refuse(503, str(error)) from None
        return Answer(200, applied.told(), None if dry_run else applied.revision)

    async def _at(self, number: int) -> Any:
        if self._history is None:
            raise refuse(501, NO_HISTORY)
        try:
            return await self._history.at(number)
        except NoRevision as error:
            raise refuse(404, str(error)) from None
        except StoreUnavailable as error:
            raise refuse(503, str(error)) from None

    def _kept(self, request: AdminRequest) -> History:
        request.permit.check_everything()
        if self._history is None:
            raise refuse(501, NO_HISTORY)
        return self._history


def _only(request: AdminRequest, *methods: str) -> None:
    if request.method not in methods:
        error = {"error_msg": f"not supported `{request.method}` method for {request.http.path}"}
        raise Refusal(Answer(405, error, headers={"Allow": ", ".join(methods)}))


def _no_rest(request: AdminRequest) -> None:
    if request.rest:
        raise refuse(404, f"there is nothing at {request.http.path}")


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise refuse(400, f"{name} must be a number")
    return int(text)


def _flag(request: AdminRequest, name: str) -> bool:
    value = request.query.get(name, "false").lower()
    if value not in ("", "true", "false", "1", "0"):
        raise refuse(400, f"{name} must be true or false")
    return value in ("", "true", "1")
