from pathlib import Path
from typing import Any

from bascule.admin.administration import Administration
from bascule.admin.plugin_groups import Group, grouped
from tests.admin.desk import WISH, with_desk

MISMATCHED = {"error_msg": "failed to check the configuration of plugin limit-count err: group conf mismatched"}


def limited(count: int, uri: str = "/a", **more: Any) -> dict[str, Any]:
    limit = {"count": count, "time_window": 60, "group": "g", **more}
    return {"uri": uri, "plugins": {"limit-count": limit}, "upstream": {"nodes": {"127.0.0.1:1980": 1}}}


def test_of_any_junk() -> None:
    assert list(grouped(limited(1, _meta={"priority": 1}))) == [
        (Group("limit-count", "g"), {"count": 1, "time_window": 60, "group": "g"})
    ]
    for junk in (
        None,
        [],
        {"plugins": []},
        {"plugins": {"limit-count": 1}},
        {"plugins": {"limit-count": {"group": 1}}},
    ):
        assert list(grouped(junk)) == []


def test_all_of_a_group_say_the_same(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        assert (await desk.put("routes", "1", limited(1), WISH)).status == 201
        assert (await desk.put("routes", "2", limited(1, "/b"), WISH)).status == 201
        assert (await desk.put("routes", "3", limited(2), WISH)).body == MISMATCHED
        other = await desk.put("services", "1", {"plugins": limited(2)["plugins"]}, WISH)
        assert (other.status, other.body) == (400, MISMATCHED)
        assert (await desk.put("routes", "3", limited(2, group="h"), WISH)).status == 201
        patch = {"plugins": {"limit-count": {"count": 9}}}
        assert (await desk.patch("routes", "1", (), patch, WISH)).body == MISMATCHED
        assert (await desk.delete("routes", "2", WISH)).status == 200
        assert (await desk.patch("routes", "1", (), patch, WISH)).status == 200  # alone in it by now

    with_desk(tmp_path, scene)


def test_a_sealed_password_is_compared_as_it_was_given(tmp_path: Path) -> None:
    redis = {"policy": "redis", "redis_host": "127.0.0.1", "redis_password": "secret"}

    async def scene(desk: Administration) -> None:
        assert (await desk.put("routes", "1", limited(1, **redis), WISH)).status == 201
        assert (await desk.put("routes", "2", limited(1, **redis), WISH)).status == 201
        assert (await desk.put("routes", "3", limited(1, **redis | {"redis_password": "x"}), WISH)).status == 400

    with_desk(tmp_path, scene)
