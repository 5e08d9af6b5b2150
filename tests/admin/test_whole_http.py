import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from bascule.admin.access import Access
from bascule.admin.http import AdminApi, handlers_of
from bascule.admin.standalone_form import StandaloneForm
from bascule.admin.whole_http import WholeApi
from bascule.model.admin_settings import Admin, AdminKey
from tests.admin.stand import SHOP, UPSTREAM, Clock, standing
from tests.admin.test_standalone_form import SECRETS

KEYS = (AdminKey(key="k"), AdminKey(name="reader", key="v", role="viewer"))
Scene = Callable[[ClientSession], Awaitable[None]]


def served(folder: Path, scene: Scene, *, history: bool = True) -> None:
    async def main() -> None:
        async with standing(folder) as stand:
            whole = WholeApi(StandaloneForm(stand.configs, SECRETS, clock=Clock()), stand.history if history else None)

            async def applied(revision: int) -> None:
                """At once."""

            api = AdminApi(
                None, Admin(), Access(Admin(), KEYS), applied=applied, handlers=handlers_of(whole.handlers())
            )
            async with (
                TestServer(api.app()) as server,
                ClientSession(server.make_url("/apisix/admin/"), headers={"X-API-KEY": "k"}) as client,
            ):
                await scene(client)

    asyncio.run(asyncio.wait_for(main(), 30))


async def ask(client: ClientSession, method: str, path: str, **how: Any) -> tuple[int, Any]:
    async with client.request(method, path, **how) as answer:
        return answer.status, await answer.json() if await answer.read() else None


def test_a_life_of_a_configuration(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        async with client.put("configs", json=SHOP, headers={"X-Digest": "d"}) as answer:
            assert (answer.status, answer.headers["X-Digest"]) == (202, "d")
            first = (await answer.json())["revision"]
        async with client.head("configs") as answer:
            assert (answer.status, answer.headers["X-Digest"], await answer.read()) == (200, "d", b"")
        status, body = await ask(client, "POST", "configs?note=one+more", json={"upstreams": [{"id": "v", **UPSTREAM}]})
        assert (status, body["create"]) == (200, 1)
        second = body["revision"]
        assert (await ask(client, "GET", f"configs?revision={first}"))[1] == SHOP

        status, body = await ask(client, "GET", "history?limit=1")
        assert (status, body["total"]) == (200, 1)
        assert body["list"][0] | {"time": 0} == {
            "revision": second,
            "time": 0,
            "actor": "admin",
            "note": "one more",
            "changes": [{"action": "create", "kind": "upstreams", "id": "v"}],
        }
        body = (await ask(client, "GET", f"history/{second}"))[1]
        assert body["changes"][0]["differences"][0]["path"] == "$"
        assert (await ask(client, "GET", f"history?before={second}"))[1]["list"][0]["revision"] == first
        assert (await ask(client, "GET", "history?prefix=routes/1"))[1]["list"][0]["revision"] == first

        assert (await ask(client, "GET", f"diff?from={first}"))[1]["create"] == 1
        assert (await ask(client, "GET", f"diff?from={second}&to={first}"))[1]["delete"] == 1
        status, body = await ask(client, "POST", "rollback?dry_run=true", json={"revision": first})
        assert (status, body["delete"], body["dry_run"]) == (200, 1, True)
        status, body = await ask(client, "POST", "rollback", json={"revision": first})
        assert (status, body["revision"] > second) == (200, True)
        status, body = await ask(client, "GET", "history?limit=1")
        assert body["list"][0]["note"] == f"rollback to revision {first}"

    served(tmp_path, scene)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("PATCH", "configs", None, 405, "not supported `PATCH` method for /apisix/admin/configs"),
        ("GET", "configs/validate", None, 405, "not supported `GET`"),
        ("GET", "configs/other", None, 404, "there is nothing at /apisix/admin/configs/other"),
        ("GET", "configs?revision=99", None, 404, "there is no revision 99 yet; the latest is "),
        ("GET", "configs?revision=x", None, 400, "revision must be a number"),
        ("GET", "configs?times=maybe", None, 400, "times must be true or false"),
        ("PUT", "configs", {}, 400, "missing digest header"),
        ("GET", "history/99", None, 404, "there is no revision 99 yet"),
        ("GET", "history/-1", None, 400, "revision must be a number"),
        ("GET", "history/1/2", None, 404, "there is nothing at"),
        ("GET", "history?limit=0", None, 400, "limit must be between 1 and 1000"),
        ("GET", "diff", None, 400, "needs ?from=REVISION"),
        ("GET", "diff?from=99", None, 404, "there is no revision 99 yet"),
        ("POST", "diff?from=1", None, 405, "not supported `POST`"),
        ("POST", "rollback", None, 400, "needs a body like"),
        ("POST", "rollback", {"revision": "1"}, 400, '"revision" must be the number of a revision'),
        ("POST", "rollback", {"revision": 99}, 404, "there is no revision 99 yet"),
        ("GET", "rollback", None, 405, "not supported `GET`"),
        ("GET", "routes/1", None, 404, "resources stand in a file here"),
    ],
)
def test_refusals(method: str, path: str, body: Any, status: int, error: str, tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        found, told = await ask(client, method, path, json=body)
        assert found == status
        assert told["error_msg"].startswith(error)

    served(tmp_path, scene)


def test_a_store_without_history(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        for method, path in (
            ("GET", "history"),
            ("GET", "diff?from=1"),
            ("POST", "rollback"),
            ("GET", "configs?revision=1"),
        ):
            status, told = await ask(client, method, path)
            assert (status, told["error_msg"].startswith("the store keeps no history")) == (501, True)

    served(tmp_path, scene, history=False)


def test_all_faults_as_a_problem(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        headers = {"Accept": "application/problem+json"}
        status, told = await ask(client, "POST", "configs", json={"routes": [{"id": "1", "uri": 1}]}, headers=headers)
        assert status == 400
        assert told["errors"][0] == {"path": "$.routes[0].uri", "message": "must be a string"}

    served(tmp_path, scene)


def test_who_only_reads(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        headers = {"X-API-KEY": "v"}
        assert (await ask(client, "GET", "configs", headers=headers))[0] == 200
        assert (await ask(client, "GET", "history", headers=headers))[0] == 200
        assert (await ask(client, "POST", "rollback", headers=headers, json={"revision": 1}))[0] == 401

    served(tmp_path, scene)
