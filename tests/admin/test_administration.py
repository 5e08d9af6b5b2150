import asyncio
from pathlib import Path
from typing import Any

import pytest

from bascule.admin.administration import Administration, Wish
from bascule.admin.permit import Permit
from bascule.model.admin_settings import KeyScope
from tests.admin.desk import ROOT, ROUTE, WISH, with_desk


def test_a_resource_s_life(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        made = await desk.put("routes", "1", ROUTE, WISH)
        assert (made.status, made.body["key"]) == (201, "/apisix/routes/1")
        assert made.body["value"]["create_time"] == made.body["value"]["update_time"]
        assert (await desk.put("routes", "1", ROUTE, WISH)).status == 200
        patched = await desk.patch("routes", "1", (), {"desc": "x", "upstream": {"nodes": {"127.0.0.1:2": 3}}}, WISH)
        assert patched.body["value"]["upstream"]["nodes"] == {"127.0.0.1:1": 1, "127.0.0.1:2": 3}
        replaced = await desk.patch("routes", "1", ("upstream", "nodes"), {"127.0.0.1:9": 1}, WISH)
        assert replaced.body["value"]["upstream"]["nodes"] == {"127.0.0.1:9": 1}
        found = await desk.get("routes", "1", ROOT)
        assert found.body["value"]["desc"] == "x"
        assert found.body["modifiedIndex"] == found.etag == replaced.revision
        listed = await desk.list("routes", {}, ROOT)
        assert (listed.body["total"], listed.body["list"]) == (1, [found.body])
        assert (await desk.delete("routes", "1", WISH)).body == {"deleted": "1", "key": "/apisix/routes/1"}
        for answer in (await desk.get("routes", "1", ROOT), await desk.delete("routes", "1", WISH)):
            assert (answer.status, answer.body) == (404, {"message": "Key not found"})

    with_desk(tmp_path, scene)


def test_metadata_of_plugins_hold_no_times(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        for _ in range(2):
            made = await desk.put("plugin_metadata", "example-plugin", {"skey": "val", "ikey": 1}, WISH)
            assert made.body["value"] == {"id": "example-plugin", "skey": "val", "ikey": 1}

    with_desk(tmp_path, scene)


def test_post_gives_a_new_id_of_twenty_digits(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        keys = [(await desk.post("routes", ROUTE, WISH)).body["key"] for _ in range(3)]
        assert len(set(keys)) == 3
        assert all(len(key.rpartition("/")[2]) == 20 for key in keys)
        assert (await desk.post("routes", {**ROUTE, "id": "7"}, WISH)).body == {
            "error_msg": "wrong route id, do not need it"
        }

    with_desk(tmp_path, scene)


@pytest.mark.parametrize(
    ("kind", "id", "body", "status", "message"),
    [
        ("routes", "1", {**ROUTE, "id": 3}, 400, "wrong route id"),
        ("routes", None, ROUTE, 400, "missing route id"),
        ("routes", "1", None, 400, "missing configurations"),
        ("routes", "1", {**ROUTE, "create_time": 1}, 400, "the property is forbidden:  create_time"),
        ("routes", "1", {**ROUTE, "upstream_id": "9"}, 400, "failed to fetch upstream info by upstream id [9], "),
        ("consumers", "jack", {"username": "jim"}, 400, "wrong username"),
        ("credentials", "jack/credentials/1", {"plugins": {}}, 404, "consumer not found"),
        ("plugin_metadata", "nothing", {}, 400, "invalid plugin name"),
    ],
)
def test_what_is_refused(tmp_path: Path, kind: str, id: str | None, body: Any, status: int, message: str) -> None:
    async def scene(desk: Administration) -> None:
        answer = await desk.put(kind, id, body, WISH)
        assert answer.status == status
        assert answer.body["error_msg"].startswith(message)
        assert (await desk.store.list(""))[0] == []

    with_desk(tmp_path, scene)


def test_secrets_are_sealed_in_the_store_and_plain_in_answers(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        body = {"username": "jack", "plugins": {"key-auth": {"key": "very-secret"}}}
        assert (await desk.put("consumers", None, body, WISH)).status == 201
        entry = await desk.store.get("consumers/jack")
        assert entry is not None
        assert b"very-secret" not in entry.value
        found = await desk.get("consumers", "jack", ROOT)
        assert found.body["value"]["plugins"]["key-auth"]["key"] == "very-secret"

    with_desk(tmp_path, scene)


def test_a_consumer_takes_its_credentials_along(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        await desk.put("consumers", "jack", {"username": "jack"}, WISH)
        credential = {"plugins": {"key-auth": {"key": "k"}}}
        assert (await desk.put("credentials", "jack/credentials/c", credential, WISH)).status == 201
        assert (await desk.list("consumers", {}, ROOT)).body["total"] == 1
        assert (await desk.list("credentials", {}, ROOT, "jack")).body["total"] == 1
        await desk.delete("consumers", "jack", WISH)
        assert (await desk.store.list(""))[0] == []
        assert (await desk.list("credentials", {}, ROOT, "jack")).status == 404

    with_desk(tmp_path, scene)


def test_if_match_holds_a_late_writer_off(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        first = await desk.put("routes", "1", ROUTE, WISH)
        second = await desk.put("routes", "1", ROUTE, Wish(ROOT, expect=frozenset((first.etag,))))
        late = await desk.patch("routes", "1", (), {"desc": "x"}, Wish(ROOT, expect=frozenset((first.etag,))))
        assert second.status == 200
        assert (late.status, late.etag) == (412, second.etag)
        assert (await desk.delete("routes", "1", Wish(ROOT, expect=frozenset((first.etag,))))).status == 412

    with_desk(tmp_path, scene)


def test_patches_at_the_same_time_all_count(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        await desk.put("routes", "1", ROUTE, WISH)
        patches = [desk.patch("routes", "1", (), {"labels": {f"n{n}": "x"}}, WISH) for n in range(4)]
        assert {answer.status for answer in await asyncio.gather(*patches)} == {200}
        found = await desk.get("routes", "1", ROOT)
        assert found.body["value"]["labels"] == {f"n{n}": "x" for n in range(4)}

    with_desk(tmp_path, scene)


def test_a_scoped_key_touches_what_it_may_before_and_after(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        team = Permit("a", scope=KeyScope(kinds=("routes",), labels={"team": "a"}))
        mine, other = ({**ROUTE, "labels": {"team": name}} for name in "ab")
        assert (await desk.put("routes", "1", mine, Wish(team))).status == 201
        assert (await desk.put("routes", "2", other, Wish(team))).status == 403
        await desk.put("routes", "2", other, WISH)
        assert (await desk.put("routes", "2", mine, Wish(team))).status == 403
        assert (await desk.patch("routes", "1", (), {"labels": {"team": "b"}}, Wish(team))).status == 403
        assert (await desk.delete("routes", "2", Wish(team))).status == 403
        assert (await desk.get("routes", "2", team)).status == 403
        assert (await desk.list("routes", {}, team)).body["total"] == 1
        assert (await desk.list("upstreams", {}, team)).status == 403

    with_desk(tmp_path, scene)
