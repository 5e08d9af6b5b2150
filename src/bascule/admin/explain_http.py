"""POST /explain: what would happen to a request; POST /debug_token: a token for live requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from bascule.admin.answer import Answer, refuse
from bascule.admin.http import AdminRequest, Handler

LONGEST_TOKEN_S = 24 * 3600


class ExplainApi:
    """`explain(asked)` as of the supervisor; `make_token(seconds)` signs one."""

    def __init__(
        self,
        explain: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
        make_token: Callable[[float], str],
    ) -> None:
        self._explain = explain
        self._make_token = make_token

    def handlers(self) -> list[tuple[str, Handler]]:
        return [("explain", self._on_explain), ("debug_token", self._on_token)]

    async def _on_explain(self, request: AdminRequest) -> Answer:
        request.permit.check_everything()
        asked = await self._object(request)
        told = await self._explain(asked)
        return Answer(400 if set(told) == {"error_msg"} else 200, told)

    async def _on_token(self, request: AdminRequest) -> Answer:
        request.permit.check_everything()
        asked = await self._object(request)
        valid_s = asked.get("for", 600)
        if not isinstance(valid_s, int | float) or isinstance(valid_s, bool) or not 0 < valid_s <= LONGEST_TOKEN_S:
            raise refuse(400, f'"for" must be a number of seconds up to {LONGEST_TOKEN_S}')
        return Answer(200, {"token": self._make_token(valid_s), "header": "X-Bascule-Debug", "for": valid_s})

    @staticmethod
    async def _object(request: AdminRequest) -> dict[str, Any]:
        if request.method != "POST":
            raise refuse(405, f"not supported `{request.method}` method here: use POST")
        body = await request.json()
        if body is None:
            return {}
        if not isinstance(body, dict):
            raise refuse(400, "the body must be a JSON object")
        return body
