"""The Admin API over HTTP: requests to calls of the Administration, answers to responses."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http.cookies import CookieError
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from bascule.admin.access import BASE, Access
from bascule.admin.administration import Administration, Wish
from bascule.admin.answer import Answer, Refusal, refuse
from bascule.admin.permit import Permit
from bascule.admin.resource_kind import KINDS, ResourceKind
from bascule.admin.strict_json import BadJson, read_json
from bascule.admin.version2 import as_version2
from bascule.model.admin_settings import Admin
from bascule.store.keys import NESTED

log = logging.getLogger("bascule.admin")

MAX_BODY = 1_572_864
BODY_TIMEOUT_S = 60.0
MANY = 200  # items of a list
_TTL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?\Z")
_TAG = re.compile(r'\s*(?P<weak>W/)?"(?P<number>[\x21\x23-\x7e]{0,40})"\s*\Z')
Handler = Callable[["AdminRequest"], Awaitable[Answer]]


class AdminRequest:
    """One request, as far as handlers need it. `rest`: path segments after the one that chose the handler."""

    def __init__(self, request: web.Request, permit: Permit, rest: list[str]) -> None:
        self.http = request
        self.method = request.method
        self.query = request.query
        self.permit = permit
        self.rest = rest

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """Raises Refusal when it is longer than `limit` bytes."""
        length = self.http.content_length or 0
        data = b"" if length > limit else await self._read(limit)
        if length > limit or len(data) > limit:
            size = max(length, len(data))
            raise Refusal(
                Answer(
                    400,
                    {
                        "error_msg": f"invalid request body: request size {size} is greater than the maximum size "
                        f"{limit} allowed"
                    },
                    headers={"Connection": "close"},
                )
            )
        return data

    async def _read(self, limit: int) -> bytes:
        data = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for chunk in self.http.content.iter_any():
                    data += chunk
                    if len(data) > limit:
                        break
        except TimeoutError:
            message = f"the request's body did not arrive within {BODY_TIMEOUT_S:g} s"
            raise Refusal(Answer(408, {"error_msg": message}, headers={"Connection": "close"})) from None
        return bytes(data)

    async def json(self) -> Any:
        """None for no body. Raises Refusal."""
        data = await self.body()
        try:
            return read_json(data)
        except BadJson as error:
            shown = data[:1000].decode(errors="replace")
            raise Refusal(Answer(400, {"error_msg": f"invalid request body: {error}", "req_body": shown})) from None

    def wish(self) -> Wish:
        """Raises Refusal."""
        ttl = self.query.get("ttl")
        if ttl is not None and not (_TTL.match(ttl) and float(ttl) >= 1):
            raise refuse(400, "invalid argument ttl: should be a number")
        force = self.query.get("force") == "true"
        expect = expected(self.http.headers.getall("If-Match", []))
        return Wish(self.permit, math.ceil(float(ttl)) if ttl else None, expect, force)


def expected(if_match: Sequence[str]) -> frozenset[int] | None:
    """The revisions that If-Match names; empty for "*", None without the header. A tag that is no revision of ours, or
    a weak one, is nobody's: 0. Raises Refusal when it is no list of tags."""
    if not if_match:
        return None
    revisions = set()
    for tag in ",".join(if_match).split(","):
        if tag.strip() == "*":
            return frozenset()
        found = _TAG.match(tag)
        if found is None:
            raise refuse(400, 'If-Match must be * or revisions in quotes, as in ETag: "7"')
        number = found["number"]
        revisions.add(int(number) if number.isdigit() and not found["weak"] else 0)
    return frozenset(revisions)


class AdminApi:
    """`applied(revision)` returns once every worker serves that revision of the store. `handlers`: what there is below
    BASE besides resources, by the first segment; each gets every method. `administration` None: there are no single
    resources, as with a standalone file."""

    def __init__(
        self,
        administration: Administration | None,
        admin: Admin,
        access: Access,
        *,
        applied: Callable[[int], Awaitable[None]],
        handlers: dict[str, Handler] | None = None,
    ) -> None:
        self._administration = administration
        self._admin = admin
        self._access = access
        self._applied = applied
        self._handlers = dict(handlers or {})

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY + 1)
        app.router.add_route("*", BASE, self._serve)
        app.router.add_route("*", BASE + "/{rest:.*}", self._serve)
        return app

    async def _serve(self, request: web.Request) -> web.Response:
        try:
            answer = await self._answer(request)
        except Refusal as refusal:
            answer = refusal.answer
        except (asyncio.CancelledError, web.HTTPException):
            raise
        except Exception:
            log.exception("internal error at %s %s", request.method, request.path)
            answer = Answer(500, {"error_msg": "internal error; the gateway's error log says more"})
        return await self._response(request, answer)

    async def _answer(self, request: web.Request) -> Answer:
        self._access.check_address(request.remote)
        if request.method == "OPTIONS":
            return Answer(200)
        try:
            cookies = request.cookies
        except (CookieError, ValueError):
            cookies = {}
        segments = [unquote(part) for part in request.raw_path.partition("?")[0].removeprefix(BASE).split("/") if part]
        if not segments and request.method == "HEAD":
            return Answer(200)  # whether the Admin API is there, for whoever may ask it anything
        permit = self._access.permit(request.method, request.headers, request.query, cookies)
        if not segments:
            return Answer(200) if request.method == "GET" else Answer(405)
        first, *rest = segments
        handler = self._handlers.get(first)
        if handler is not None:
            return await handler(AdminRequest(request, permit, rest))
        if self._administration is None:
            raise refuse(404, f"resources stand in a file here: they are read and replaced whole, at {BASE}/configs")
        kind, id, path = self._resource(first, rest)
        return await self._on_resource(self._administration, AdminRequest(request, permit, path), kind, id)

    def _resource(self, first: str, rest: list[str]) -> tuple[ResourceKind, str | None, list[str]]:
        """The kind, the id if the path has one, and the path inside the resource. Of a nested kind without an id, the
        id is that of what it belongs to, and the path None."""
        kind = KINDS.get(first)
        if kind is None or first in NESTED:
            raise refuse(404, f"Unsupported resource type: {first}")
        if len(rest) >= 2 and NESTED.get(rest[1]) == first:
            kind = KINDS[rest[1]]
            if len(rest) == 2:
                return kind, None, rest[:1]
            return kind, "/".join(rest[:3]), rest[3:]
        if len(rest) < kind.id_parts:
            return kind, None, rest
        return kind, "/".join(rest[: kind.id_parts]), rest[kind.id_parts :]

    async def _on_resource(
        self, administration: Administration, request: AdminRequest, kind: ResourceKind, id: str | None
    ) -> Answer:
        method, path = request.method, request.rest
        if method == "HEAD":
            method = "GET"
        if method not in kind.methods:
            raise refuse(405, f"not supported `{method}` method for {kind.noun}")
        parent = path[0] if id is None and path else None
        if method == "GET":
            if id is None:
                return await administration.list(kind.name, request.query, request.permit, parent)
            return await administration.get(kind.name, id, request.permit)
        if method == "DELETE":
            if id is None:
                raise refuse(400, f"missing {kind.noun} id")
            return await administration.delete(kind.name, id, request.wish())
        body = await request.json()
        if method == "POST":
            if id is not None:
                raise refuse(400, f"wrong {kind.noun} id, do not need it")
            return await administration.post(kind.name, body, request.wish(), parent)
        if method == "PUT":
            if id is None and parent is not None and kind.name in NESTED and isinstance(body, dict) and body.get("id"):
                id = f"{parent}/{kind.name}/{body['id']}"
            return await administration.put(kind.name, id, body, request.wish())
        if id is None:
            raise refuse(400, f"missing {kind.noun} id")
        type_ = request.http.content_type
        form = type_.removeprefix("application/").removesuffix("+json") if type_.endswith("-patch+json") else ""
        return await administration.patch(kind.name, id, path, body, request.wish(), form)

    async def _response(self, request: web.Request, answer: Answer) -> web.Response:
        headers = {"Server": "Bascule", **answer.headers}
        if answer.revision is not None and answer.status < 300:
            try:
                async with asyncio.timeout(self._admin.apply_timeout):
                    await self._applied(answer.revision)
            except TimeoutError:
                headers["X-Bascule-Applied"] = "false"
        if answer.etag is not None:
            headers["ETag"] = f'"{answer.etag}"'
        version2 = self._admin.admin_api_version != "v3"
        if answer.status != 401:  # as APISIX: nothing is told to who has no key
            headers["X-API-VERSION"] = "v2" if version2 else "v3"
        if self._admin.enable_admin_cors:
            headers |= {
                "Access-Control-Allow-Origin": "*",
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Allow-Methods": "*",
                "Access-Control-Max-Age": "3600",
                "Access-Control-Allow-Headers": "*",
                "Access-Control-Expose-Headers": "*",
            }
        body = answer.body
        if version2 and answer.status < 300:
            body = as_version2(request.method, request.path.partition("/admin")[2], body)
        if answer.faults and "application/problem+json" in request.headers.get("Accept", ""):
            headers["Content-Type"] = "application/problem+json"
            body = {
                "type": "about:blank",
                "title": "The configuration is not valid",
                "status": answer.status,
                "detail": answer.body["error_msg"],
                "errors": [{"path": fault.path, "message": fault.sentence} for fault in answer.faults],
            }
        headers.setdefault("Content-Type", "application/json")
        data = b"" if body is None else body.encode() if isinstance(body, str) else await _dump(body)
        response = web.Response(status=answer.status, body=data, headers=headers)
        if headers.get("Connection") == "close":
            response.force_close()
        return response


async def _dump(body: Any) -> bytes:
    """With a line's end, as APISIX writes it. Long lists in another thread."""
    many = isinstance(body, dict) and isinstance(body.get("list"), list) and len(body["list"]) > MANY
    write = partial(orjson.dumps, body, option=orjson.OPT_APPEND_NEWLINE)
    return await asyncio.to_thread(write) if many else write()


def handlers_of(*tables: Sequence[tuple[str, Handler]]) -> dict[str, Handler]:
    """The handlers of several owners as one table; two for the same segment are a mistake."""
    found: dict[str, Handler] = {}
    for table in tables:
        for name, handler in table:
            if name in found:
                raise ValueError(f"two handlers for {name}")
            found[name] = handler
    return found
