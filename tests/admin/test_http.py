import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from bascule.admin.access import Access
from bascule.admin.administration import Administration
from bascule.admin.http import MAX_BODY, AdminApi, handlers_of
from bascule.model.admin_settings import Admin, AdminKey
from tests.admin.desk import ROUTE, with_desk

KEY = {"X-API-KEY": "k"}


async def at_once(_: int) -> None: ...


def served(
    folder: Path,
    scene: Callable[[ClientSession], Awaitable[None]],
    applied: Callable[[int], Awaitable[None]] | None = None,
    **settings: Any,
) -> None:
    """Runs `scene` with a client of an Admin API on an empty store."""

    async def run(desk: Administration) -> None:
        admin = Admin.model_validate(settings)
        api = AdminApi(desk, admin, Access(admin, [AdminKey(key="k")]), applied=applied or at_once)
        async with (
            TestServer(api.app()) as server,
            ClientSession(server.make_url("/apisix/admin/"), headers=KEY) as client,
        ):
            await scene(client)

    with_desk(folder, run)


def test_a_resource_over_http(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        async with client.put("routes/1", json=dict(ROUTE)) as answer:
            assert answer.status == 201
            assert answer.headers["X-API-VERSION"] == "v3"
            tag = answer.headers["ETag"]
        async with client.patch(
            "routes/1/upstream/nodes", json={"127.0.0.1:7": 1}, headers={"If-Match": tag}
        ) as answer:
            assert answer.status == 200
        async with client.delete("routes/1", headers={"If-Match": tag}) as answer:
            assert answer.status == 412
        async with client.get("routes/1") as answer:
            assert (await answer.json())["value"]["upstream"]["nodes"] == {"127.0.0.1:7": 1}

    served(tmp_path, scene)


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "body"),
    [
        ("GET", "routs", None, 404, {"error_msg": "Unsupported resource type: routs"}),
        ("POST", "consumers", "{}", 405, {"error_msg": "not supported `POST` method for consumer"}),
        ("PUT", "routes/1", "", 400, {"error_msg": "missing configurations"}),
        ("PATCH", "routes/1", "", 404, {"message": "Key not found"}),
        ("PUT", "routes/1?ttl=x", "{}", 400, {"error_msg": "invalid argument ttl: should be a number"}),
        ("DELETE", "routes/nothing", None, 404, {"message": "Key not found"}),
        ("GET", "services/1/graphql_cost_decorations", None, 404, {"error_msg": "service not found"}),
    ],
)
def test_answers_word_for_word(
    tmp_path: Path, method: str, path: str, data: str | None, status: int, body: dict[str, str]
) -> None:
    async def scene(client: ClientSession) -> None:
        async with client.request(method, path, data=data) as answer:
            assert (answer.status, await answer.json()) == (status, body)

    served(tmp_path, scene)


def test_bad_json_and_long_bodies(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        async with client.put("routes/1", data=b'{"uri": ') as answer:
            told = await answer.json()
            assert answer.status == 400
            assert told["error_msg"].startswith("invalid request body: ")
            assert told["req_body"] == '{"uri": '
        async with client.put("routes/1", data=io.BytesIO(b"x" * (MAX_BODY + 1))) as answer:
            assert answer.status == 413
            assert "is greater than the maximum size 1572864 allowed" in (await answer.json())["error_msg"]
        async with client.put("routes/1", data=b'{"uri": "/*", "desc": "two\nlines", "plugins": {}}') as answer:
            assert (await answer.json())["value"]["desc"] == "two\nlines"

    served(tmp_path, scene)


def test_without_a_key_nothing_is_told(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        async with client.get("routes", headers={"X-API-KEY": "wrong"}) as answer:
            assert answer.status == 401
            assert (await answer.json())["description"] == "wrong apikey"
        async with client.options("routes", headers={"X-API-KEY": ""}) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == "*"

    served(tmp_path, scene)


def test_problem_details_tell_all_faults(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        async with client.put("routes/1", json={"uri": 1}, headers={"Accept": "application/problem+json"}) as answer:
            assert answer.content_type == "application/problem+json"
            assert (await answer.json(content_type=None))["errors"][0]["path"] == "$.uri"

    served(tmp_path, scene)


def test_late_workers_don_t_make_a_write_fail(tmp_path: Path) -> None:
    async def never(_: int) -> None:
        await asyncio.Event().wait()

    async def scene(client: ClientSession) -> None:
        async with client.put("routes/1", json=dict(ROUTE)) as answer:
            assert (answer.status, answer.headers["X-Bascule-Applied"]) == (201, "false")

    served(tmp_path, scene, never, apply_timeout=0.05)


def test_an_internal_error_is_an_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: Any) -> Any:
        raise RuntimeError("boom")

    async def run(desk: Administration) -> None:
        access = Access(Admin(), [AdminKey(key="k")])
        api = AdminApi(desk, Admin(), access, applied=at_once, handlers={"broken": broken})
        async with (
            TestServer(api.app()) as server,
            ClientSession(headers=KEY) as client,
            client.get(server.make_url("/apisix/admin/broken")) as answer,
        ):
            assert answer.status == 500
        assert "boom" in caplog.text

    with_desk(tmp_path, run)


def test_two_handlers_for_one_name_are_a_mistake() -> None:
    async def one(_: Any) -> Any: ...

    with pytest.raises(ValueError, match="two handlers for x"):
        handlers_of([("x", one)], [("x", one)])
