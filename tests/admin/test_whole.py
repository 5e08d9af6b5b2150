from pathlib import Path

import pytest

from bascule.admin.diff import ABSENT, Difference
from bascule.admin.plan import PlannedStep
from bascule.admin.whole import MARK_KEY, Replacement, stored
from bascule.store.entry import Conflict, Delete, Put
from tests.admin.stand import ME, run, standing

NOTHING = (Difference("$", ABSENT, ABSENT),)


def test_secrets_are_sealed_in_the_store_and_plain_here(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            await stand.configs.apply(
                {"consumers": [{"username": "a", "plugins": {"key-auth": {"key": "open"}}}]}, ME, prune=True
            )
            entry = await stand.store.get("consumers/a")
            assert entry is not None
            assert b"open" not in entry.value
            whole = await stand.keeper.read()
            assert whole.items["consumers", "a"]["plugins"] == {"key-auth": {"key": "open"}}
            assert whole.modified["consumers", "a"] == whole.revision == entry.modified

    run(main())


def test_what_is_no_resource_is_passed_over_and_what_is_unreadable_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            await stand.store.write([Put("gen_id", b"1"), Put("routes/1", b"[]"), Put(MARK_KEY, b'{"a": 1}')], ME)
            whole = await stand.keeper.read()
            assert whole.items == {("routes", "1"): {}}
            assert whole.unreadable == [("routes", "1")]
            assert whole.mark == {"a": 1}

    run(main())


def test_a_write_that_others_came_before_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            await stand.store.write([Put("upstreams/u", b"{}"), Put("routes/1", b"{}")], ME)
            before = await stand.keeper.read()
            route = {("routes", "2"): {"upstream_id": "u"}}
            create = [PlannedStep("create", "routes", "2", NOTHING)]
            delete = [PlannedStep("delete", "upstreams", "u", NOTHING)]

            await stand.store.write([Put("routes/1", b'{"upstream_id": "u"}')], ME)
            with pytest.raises(Conflict):  # somebody may have begun to refer to it
                await stand.keeper.write(Replacement(before, delete, {}, ME))
            await stand.store.write([Delete("upstreams/u")], ME)
            with pytest.raises(Conflict):  # what it refers to has gone
                await stand.keeper.write(Replacement(before, create, route, ME))
            await stand.store.write([Put("upstreams/u", b"{}"), Put("routes/2", b"{}")], ME)
            with pytest.raises(Conflict):  # it isn't new any more
                await stand.keeper.write(Replacement(before, create, route, ME))
            entry = await stand.store.get("routes/2")
            assert entry is not None
            assert entry.value == b"{}"

    run(main())


def test_nothing_to_write_is_no_revision(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            before = await stand.keeper.read()
            assert await stand.keeper.write(Replacement(before, [], {}, ME)) == before.revision
            assert await stand.keeper.write(Replacement(before, [], {}, ME, {"x": 1})) > before.revision

    run(main())


def test_ids_and_times_as_stores_have_them() -> None:
    before = {"create_time": 3, "update_time": 4}
    assert stored("routes", "1", {"uri": "/"}, None, 9) == {"uri": "/", "id": "1", "create_time": 9, "update_time": 9}
    assert stored("routes", "1", {}, before, 9)["create_time"] == 3
    assert stored("routes", "1", {"create_time": 1}, before, 9)["create_time"] == 1
    assert stored("plugin_metadata", "cors", {}, None, 9) == {"id": "cors"}
    assert stored("credentials", "a/credentials/c", {}, None, 9)["id"] == "c"
    assert "id" not in stored("consumers", "a", {"username": "a"}, None, 9)
