from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from bascule.admin.access import Access
from bascule.admin.administration import Administration
from bascule.admin.http import AdminApi, handlers_of
from bascule.admin.schema_handlers import SchemaHandlers
from bascule.admin.schemas import Schemas
from bascule.admin.validator import Validator
from bascule.model.admin_settings import Admin, AdminKey, KeyScope
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment
from tests.admin.desk import with_desk

UP = {"nodes": {"127.0.0.1:1980": 1}}
URI_TEXT = 'property "uri" validation failed: wrong type: expected string, got number'


@pytest.fixture
def ask(tmp_path: Path):
    """(method, path, body) -> (status, JSON); `ask.reloads` counts."""
    registry = Registry()
    handlers = SchemaHandlers(
        Schemas(registry), Validator(registry, resolve=from_environment({})).check, lambda: reloads.append(1)
    )
    reloads: list[int] = []

    def asked(method: str, path: str, body: Any = None, key: str = "k") -> tuple[int, Any]:
        found: list[tuple[int, Any]] = []

        async def applied(_: int) -> None: ...

        async def run(desk: Administration) -> None:
            admin = Admin()
            access = Access(admin, [AdminKey(key="k"), AdminKey(name="team", key="t", scope=KeyScope())])
            api = AdminApi(desk, admin, access, applied=applied, handlers=handlers_of(handlers.table()))
            async with (
                TestServer(api.app()) as server,
                ClientSession(server.make_url("/apisix/admin/"), headers={"X-API-KEY": key}) as client,
                client.request(method, path, json=body) as answer,
            ):
                text = await answer.text()
                is_json = text.startswith(("{", "["))
                found.append((answer.status, await answer.json() if is_json else text))

        with_desk(tmp_path, run)
        return found[0]

    asked.reloads = reloads  # type: ignore[attr-defined]
    return asked


def test_schemas_of_resources(ask) -> None:
    status, schema = ask("GET", "schema/route")
    assert (status, schema["properties"]["plugins"]) == (200, {"type": "object"})
    assert ask("GET", "schema/noexits") == (400, {"error_msg": "not found schema: noexits"})
    assert ask("PUT", "schema/service") == (404, "")
    assert ask("POST", "schema/service", {}) == (404, "")


def test_plugins(ask) -> None:
    status, names = ask("GET", "plugins/list")
    assert status == 200
    assert names[:2] == ["request-collapsing", "real-ip"]  # by priority
    assert ask("GET", "plugins/list?subsystem=stream") == (200, [])
    assert ask("GET", "plugins/list?subsystem=x") == (400, {"error_msg": "unsupported subsystem: x"})
    assert ask("GET", "plugins/key-auth?schema_type=consumer")[1]["required"] == ["key"]
    assert ask("GET", "schema/plugins/key-auth")[1]["properties"].keys() >= {"header", "_meta"}
    assert ask("GET", "plugins/nope")[0] == ask("GET", "schema/plugins/nope")[0] == 404
    assert ask("GET", "schema/plugins/cors?subsystem=x")[0] == 400
    assert ask("GET", "plugins?all=true")[1]["cors"]["priority"] == 4000
    assert ask("GET", "plugins")[0] == 400
    assert ask("DELETE", "plugins/cors")[0] == 405


def test_reload(ask) -> None:
    assert ask("PUT", "plugins/reload") == (200, "done")
    assert ask("PUT", "plugins/reload", key="t")[0] == 403
    assert ask.reloads == [1]
    assert ask("GET", "plugins/reload")[0] == 404  # a plugin of that name


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("routes", {"uri": "/", "upstream": UP}, (200, "")),
        ("routes", {"id": 7, "uri": "/", "upstream": UP}, (200, "")),
        ("consumers", {"username": "jack", "plugins": {"key-auth": {"key": "k"}}}, (200, "")),
        ("credentials", {"id": "c1", "plugins": {"key-auth": {"key": "k"}}}, (200, "")),
        ("routes", {"uri": 1, "upstream": UP}, (400, {"error_msg": URI_TEXT})),
        ("routes", None, (400, {"error_msg": "missing configurations"})),
        ("routes", [], (400, {"error_msg": "wrong type: expected object, got table"})),
        ("routs", {}, (400, {"error_msg": "not found schema: routs"})),
        (
            "routes",
            {"uri": 1, "x": 1},
            (
                400,
                {
                    "error_msg": URI_TEXT,
                    "errors": [
                        {"path": "$.uri", "message": "must be a string"},
                        {"path": "$.x", "message": 'unknown attribute "x"'},
                    ],
                },
            ),
        ),
    ],
)
def test_validation_of_a_resource(ask, kind, value, expected) -> None:
    assert ask("POST", f"schema/validate/{kind}", value) == expected
