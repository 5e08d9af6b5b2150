import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bascule.admin.answer import Answer, Refusal
from bascule.admin.explain_http import ExplainApi
from bascule.admin.permit import Permit
from bascule.model.admin_settings import KeyScope


async def explain(asked: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": []} if "url" in asked else {"error_msg": "there is no url"}


def call(name: str, body: Any, method: str = "POST", permit: Permit | None = None) -> Answer:
    async def json() -> Any:
        return body

    request: Any = SimpleNamespace(method=method, permit=permit or Permit(), json=json, rest=[])
    handlers = dict(ExplainApi(explain, lambda seconds: f"token-{seconds:g}").handlers())
    return asyncio.run(handlers[name](request))  # type: ignore[arg-type]


def test_what_the_worker_tells_is_answered() -> None:
    assert call("explain", {"url": "/"}) == Answer(200, {"candidates": []})
    assert call("explain", None).status == 400


def test_a_token_for_a_while() -> None:
    assert call("debug_token", {"for": 60}).body == {"token": "token-60", "header": "X-Bascule-Debug", "for": 60}
    assert call("debug_token", None).body["for"] == 600


@pytest.mark.parametrize(
    ("body", "method"),
    [([], "POST"), ({"for": 0}, "POST"), ({"for": "x"}, "POST"), ({"for": True}, "POST"), ({}, "GET")],
)
def test_what_is_refused(body: Any, method: str) -> None:
    with pytest.raises(Refusal):
        call("debug_token", body, method)


def test_only_who_may_all_may_ask() -> None:
    with pytest.raises(Refusal) as caught:
        call("explain", {"url": "/"}, permit=Permit("x", scope=KeyScope(kinds=("routes",))))
    assert caught.value.answer.status == 403
