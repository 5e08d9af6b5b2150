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
from bascule.admin.answer import Refusal
from bascule.admin.http import MAX_BODY, AdminApi, expected, handlers_of
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


@pytest.mark.parametrize(
    ("tags", "revisions"),
    [
        ([], None),
        (["*"], frozenset()),
        (['"7"'], {7}),
        (['"7", "8"', '"9"'], {7, 8, 9}),
        (['W/"7"'], {0}),
        (['"x"'], {0}),
        (['""'], {0}),
    ],
)
def test_revisions_of_if_match(tags: list[str], revisions: set[int] | None) -> None:
    assert expected(tags) == revisions


@pytest.mark.parametrize("tag", ["7", "", '"7', '"7" "8"', '"' + "7" * 50 + '"'])
def test_if_match_that_is_no_list_of_tags(tag: str) -> None:
    with pytest.raises(Refusal) as caught:
        expected([tag])
    assert caught.value.answer.status == 400


def test_conditions_patches_and_ids_over_http(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        async def ask(method: str, path: str, status: int, **options: Any) -> Any:
            async with client.request(method, path, **options) as answer:
                assert answer.status == status, await answer.text()
                return await answer.json()

        await ask("PUT", "routes/1", 412, json=dict(ROUTE), headers={"If-Match": "*"})
        await ask("PUT", "routes/1", 201, json=dict(ROUTE))
        told = await ask("PUT", "routes/1", 412, json=dict(ROUTE), headers={"If-Match": '"99", W/"1"'})
        assert told["error_msg"].startswith("If-Match doesn't hold: the resource is at revision ")
        await ask("PUT", "routes/1", 200, json=dict(ROUTE), headers={"If-Match": "*"})
        patch = [{"op": "add", "path": "/desc", "value": "x"}, {"op": "test", "path": "/uri", "value": "/*"}]
        patched = {"headers": {"Content-Type": "application/json-patch+json"}}
        assert (await ask("PATCH", "routes/1", 200, json=patch, **patched))["value"]["desc"] == "x"
        await ask("PATCH", "routes/1", 400, json=[{"op": "test", "path": "/uri", "value": "/"}], **patched)
        await ask("PATCH", "routes/1/upstream/nodes/a/b", 400, json={})
        await ask("PUT", "routes/a%2Fb", 400, json=dict(ROUTE))
        await ask("GET", "routes/a%2Fb", 404)
        await ask("PUT", "routes/2?ttl=0.5", 400, json=dict(ROUTE))
        await ask("PUT", "routes/2?ttl=1e9", 400, json=dict(ROUTE))
        await ask("PUT", "routes/2?ttl=60.5", 201, json=dict(ROUTE))
        for method, path in (("PATCH", "stream_routes/1"), ("POST", "secrets/vault/1"), ("PATCH", "consumers/jack")):
            assert (await ask(method, path, 405, json={}))["error_msg"].startswith(f"not supported `{method}` method")

    served(tmp_path, scene)


def test_whether_it_is_there_is_told_without_a_key(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        nothing = {"X-API-KEY": ""}
        async with client.head("/apisix/admin", headers=nothing) as answer:
            assert answer.status == 200
        async with client.get("/apisix/admin", headers=nothing) as answer:
            assert (answer.status, answer.headers.get("X-API-VERSION")) == (401, None)

    served(tmp_path, scene)


def test_bodies_that_would_bring_a_parser_down_are_answered(tmp_path: Path) -> None:
    bodies = (
        b"[" * 100_000,
        b'{"a":' * 201 + b"1" + b"}" * 201,
        b'{"uri": "\xff\xfe"}',
        b'{"uri": "/\\ud800"}',
        b'{"priority": 1e999}',
        b'{"priority": ' + b"9" * 1_000_000 + b"}",
        b'{"priority": NaN}',
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b'{"plugins": {"limit-count": ' + b"[" * 190 + b"]" * 190 + b"}}",
        b'{"uris": [' + b",".join(b'"/%d"' % n for n in range(100_000)) + b"]}",
    )

    async def scene(client: ClientSession) -> None:
        for body in bodies:
            for method, path in (("PUT", "routes/1"), ("POST", "services"), ("PUT", "global_rules/1")):
                async with client.request(method, path, data=body) as answer:
                    assert answer.status == 400, (method, path, body[:60])
                    assert "error_msg" in await answer.json()

    served(tmp_path, scene)


def test_a_body_that_never_comes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bascule.admin.http.BODY_TIMEOUT_S", 0.05)

    async def scene(client: ClientSession) -> None:
        base = client._build_url("")
        reader, writer = await asyncio.open_connection(base.host, base.port)
        writer.write(b"PUT /apisix/admin/routes/1 HTTP/1.1\r\nHost: x\r\nX-API-KEY: k\r\nContent-Length: 9\r\n\r\n{")
        answer = await asyncio.wait_for(reader.readuntil(b"did not arrive within"), 10)
        assert answer.startswith(b"HTTP/1.1 408 ")
        writer.close()
        await writer.wait_closed()

    served(tmp_path, scene)


def test_bad_json_and_long_bodies(tmp_path: Path) -> None:
    async def scene(client: ClientSession) -> None:
        async with client.put("routes/1", data=b'{"uri": ') as answer:
            told = await answer.json()
            assert answer.status == 400
            assert told["error_msg"].startswith("invalid request body: ")
            assert told["req_body"] == '{"uri": '
        async with client.put("routes/1", data=io.BytesIO(b"x" * (MAX_BODY + 1))) as answer:
            assert answer.status == 400
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
