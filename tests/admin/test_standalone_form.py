import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bascule.admin.answer import Answer, Refusal
from bascule.admin.configs import Configs
from bascule.admin.diff import HIDDEN
from bascule.admin.file_keeper import FileKeeper
from bascule.admin.permit import Permit
from bascule.admin.secret_places import SecretPlaces
from bascule.admin.standalone_form import StandaloneForm
from bascule.admin.validator import Validator
from bascule.model.admin_settings import KeyScope
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment
from bascule.store.entry import Put
from bascule.store.keys import KINDS
from bascule.store.sealing import Sealer
from tests.admin.stand import ME, SHOP, UPSTREAM, Clock, Stand, fields_of, run, standing

ROOT = Permit("root")
JSON = "application/json"
ROUTE = {"id": "r1", "uri": "/r1", "upstream": UPSTREAM}
ZERO = {f"{kind}_conf_version": 0 for kind in KINDS}
SECRETS = SecretPlaces(Sealer((), fields_of, False))


def form_of(stand: Stand) -> StandaloneForm:
    return StandaloneForm(stand.configs, SECRETS, clock=Clock())


def file_form(folder: Path) -> StandaloneForm:
    check = Validator(Registry(), resolve=from_environment({})).check
    keeper = FileKeeper(folder / "apisix.yaml", folder / "data" / "standalone.json")
    return StandaloneForm(Configs(keeper, check, SECRETS), SECRETS, clock=Clock())


async def put(form: StandaloneForm, document: Any, digest: str | None = "d1", **how: Any) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    try:
        return await form.put(ROOT, body, how.pop("content_type", JSON), digest, **how)
    except Refusal as refusal:
        return refusal.answer


async def get(form: StandaloneForm, accept: str = JSON, permit: Permit = ROOT, **how: Any) -> Answer:
    return await form.get(permit, accept, **how)


Scene = Callable[[StandaloneForm], Awaitable[None]]


def everywhere(scene: Scene, folder: Path) -> None:
    """The same over a store and over a file."""

    async def main() -> None:
        async with standing(folder / "store") as stand:
            await scene(form_of(stand))
        (folder / "file").mkdir()
        await scene(file_form(folder / "file"))

    run(main())


def test_digests_and_versions(tmp_path: Path) -> None:
    async def scene(form: StandaloneForm) -> None:
        empty = await get(form)
        assert (empty.body, dict(empty.headers)) == (ZERO, {})
        first = await put(form, {"routes": [ROUTE]})
        assert first.status == 202
        assert first.headers["X-Digest"] == "d1"
        assert int(first.headers["X-Last-Modified"]) > 0
        assert (await put(form, {"routes": [ROUTE]})).status == 204
        shown = await get(form)
        assert shown.body == {"routes": [ROUTE], **dict.fromkeys(ZERO, 1)}
        assert shown.headers == first.headers
        assert (await put(form, {"routes_conf_version": 15}, "d2")).status == 202
        assert (await put(form, {}, "d3")).status == 202
        body = (await get(form)).body
        assert (body["routes_conf_version"], body["ssls_conf_version"]) == (16, 3)
        assert "routes" not in body
        lower = await put(form, {"routes_conf_version": 1}, "d4")
        assert (lower.status, lower.body) == (
            400,
            {"error_msg": "routes_conf_version must be greater than or equal to (16)"},
        )

    everywhere(scene, tmp_path)


@pytest.mark.parametrize(
    ("body", "content_type", "digest", "error"),
    [
        (b"{}", JSON, None, "missing digest header"),
        (b"", JSON, "x", "invalid request body: empty request body"),
        (b"{abc", JSON, "x", "invalid request body: "),
        (b"[]", JSON, "x", "invalid request body: must be an object of lists"),
        (b"routes_conf_version: adc", "application/yaml", "x", "routes_conf_version must be a number"),
        (b'{"routes_conf_version": true}', JSON, "x", "routes_conf_version must be a number"),
        (b'{"routes": [{"id": 1}, {"id": 1}]}', JSON, "x", "found duplicate id 1 in routes"),
        (
            b'{"routes": [{"id": "r", "uri": 123, "upstream": {"nodes": {}}}]}',
            JSON,
            "x",
            'invalid configuration: property "uri" validation failed: wrong type: expected string, got number',
        ),
        (
            b'{"services": [{"id": "s", "plugins": {"invalid-plugin": {}}}]}',
            JSON,
            "x",
            "unknown plugin [invalid-plugin]",
        ),
    ],
)
def test_refusals_in_apisix_words(
    body: bytes, content_type: str, digest: str | None, error: str, tmp_path: Path
) -> None:
    async def scene(form: StandaloneForm) -> None:
        answer = await put(form, body, digest, content_type=content_type)
        assert answer.status == 400
        assert answer.body["error_msg"].startswith(error)
        assert (await get(form)).body == ZERO

    everywhere(scene, tmp_path)


def test_every_fault_with_its_place(tmp_path: Path) -> None:
    async def scene(form: StandaloneForm) -> None:
        answer = await put(form, {"routes": [{"id": "1", "uri": 1, "upstream_id": "u"}]})
        assert [fault["path"] for fault in answer.body["errors"]] == ["$.routes[0].uri", "$.routes[0].upstream_id"]
        assert [fault.path for fault in answer.faults] == ["$.routes[0].uri", "$.routes[0].upstream_id"]

    everywhere(scene, tmp_path)


def test_yaml_in_and_out(tmp_path: Path) -> None:
    async def scene(form: StandaloneForm) -> None:
        assert (await put(form, yaml.safe_dump({"routes": [ROUTE]}).encode(), content_type="text/yaml")).status == 202
        shown = await get(form, "application/yaml")
        assert shown.headers["Content-Type"] == "application/yaml"
        assert yaml.safe_load(shown.body)["routes"] == [ROUTE]

    everywhere(scene, tmp_path)


def test_a_dry_run_needs_no_digest_and_changes_nothing(tmp_path: Path) -> None:
    async def scene(form: StandaloneForm) -> None:
        answer = await put(form, {"routes": [ROUTE]}, None, dry_run=True)
        assert answer.status == 200
        assert (answer.body["create"], answer.body["plan"][0]["action"]) == (1, "create")
        assert (await get(form)).body == ZERO

    everywhere(scene, tmp_path)


def test_many_resources_without_touching_the_others(tmp_path: Path) -> None:
    async def post(form: StandaloneForm, document: Any, **how: Any) -> Answer:
        try:
            return await form.post(
                ROOT, json.dumps(document).encode(), JSON, **{"prune": False, "dry_run": False} | how
            )
        except Refusal as refusal:
            return refusal.answer

    async def scene(form: StandaloneForm) -> None:
        await put(form, {"routes": [ROUTE]})
        planned = await post(form, SHOP, dry_run=True)
        answer = await post(form, SHOP, agreed=planned.body["plan_id"])
        assert (answer.status, answer.body["create"]) == (200, 6)
        assert dict((await get(form)).headers) == {}  # it isn't what the digest was of any more
        assert [route["id"] for route in (await get(form)).body["routes"]] == ["1", "2", "r1"]
        changed = await post(form, {}, prune=True, agreed="another")
        assert (changed.status, changed.body["delete"]) == (409, 7)
        assert (await post(form, {}, prune=True)).body["delete"] == 7

    everywhere(scene, tmp_path)


def test_validation_tells_everything_and_stores_nothing(tmp_path: Path) -> None:
    async def scene(form: StandaloneForm) -> None:
        good = {"routes": [{"id": "r", "uri": "/", "upstream_id": "elsewhere"}], "routes_conf_version": 1}
        assert await form.validate(ROOT, json.dumps(good).encode(), JSON) == Answer(200, {})
        bad = {
            "routes": [{"id": "r", "uri": 1, "upstream": UPSTREAM}, {"id": "r", "uri": "/"}],
            "ssls_conf_version": "x",
        }
        answer = await form.validate(ROOT, json.dumps(bad).encode(), JSON)
        assert answer.body == {
            "error_msg": "Configuration validation failed",
            "errors": [
                {
                    "resource_type": "routes",
                    "resource_id": "r",
                    "index": 0,
                    "error": 'property "uri" validation failed: wrong type: expected string, got number',
                    "path": "$.routes[0].uri",
                    "message": "must be a string",
                },
                {
                    "resource_type": "routes",
                    "resource_id": "r",
                    "index": 1,
                    "error": "found duplicate id r in routes",
                    "path": "$.routes[1]",
                    "message": 'the id "r" is taken by $.routes[0]',
                },
                {
                    "resource_type": "ssls",
                    "error": "ssls_conf_version must be a number",
                    "path": "$.ssls_conf_version",
                    "message": "must be a number",
                },
            ],
        }
        several = {"routes": [{"id": "r", "uri": 1, "unknown": 1, "upstream": UPSTREAM}]}
        answer = await form.validate(ROOT, json.dumps(several).encode(), JSON)
        assert (len(answer.body["errors"]), len(answer.faults) > 1) == (1, True)
        assert (await get(form)).body == ZERO

    everywhere(scene, tmp_path)


def test_secrets_are_for_those_who_may_write(tmp_path: Path) -> None:
    async def scene(form: StandaloneForm) -> None:
        await put(form, SHOP)
        for permit, how, key in (
            (ROOT, {}, "a-secret-key"),
            (ROOT, {"hide": True}, HIDDEN),
            (Permit("v", True), {}, HIDDEN),
        ):
            shown = (await get(form, permit=permit, **how)).body
            assert shown["consumers"][1]["plugins"]["key-auth"]["key"] == key

    everywhere(scene, tmp_path)


def test_a_key_for_some_resources_is_none_for_the_whole(tmp_path: Path) -> None:
    bound = Permit("some", scope=KeyScope(kinds=("routes",)))

    async def scene(form: StandaloneForm) -> None:
        for call in (
            form.get(bound, JSON),
            form.put(bound, b"{}", JSON, "d"),
            form.post(bound, b"{}", JSON, prune=False, dry_run=True),
        ):
            with pytest.raises(Refusal) as caught:
                await call
            assert caught.value.answer.status == 403

    everywhere(scene, tmp_path)


def test_a_change_by_others_ends_a_digest(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            form = form_of(stand)
            await put(form, {"routes": [ROUTE]})
            await stand.store.write([Put("routes/2", b'{"uri": "/2", "upstream": {"nodes": {}}}')], ME)
            assert dict((await get(form)).headers) == {}
            again = await put(form, {"routes": [ROUTE]})
            assert (again.status, again.body["delete"]) == (202, 1)

    run(main())
