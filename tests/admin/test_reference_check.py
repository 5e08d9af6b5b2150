import asyncio
from pathlib import Path

import pytest

from bascule.admin.administration import Administration, Wish
from tests.admin.desk import ROOT, WISH, with_desk

UPSTREAM = {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}


def test_what_is_used_isn_t_deleted_unless_forced(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        await desk.put("upstreams", "u", UPSTREAM, WISH)
        await desk.put("services", "s", {"upstream_id": "u"}, WISH)
        await desk.put("plugin_configs", "p", {"plugins": {"cors": {}}}, WISH)
        await desk.put("routes", "r", {"uri": "/", "service_id": "s", "plugin_config_id": "p"}, WISH)
        await desk.put("consumer_groups", "g", {"plugins": {"cors": {}}}, WISH)
        await desk.put("consumers", "c", {"username": "c", "group_id": "g"}, WISH)
        for kind, id, message in (
            ("upstreams", "u", "can not delete this upstream, service [s] is still using it now"),
            ("services", "s", "can not delete this service directly, route [r] is still using it now"),
            ("plugin_configs", "p", "can not delete this plugin config, route [r] is still using it now"),
            ("consumer_groups", "g", "can not delete this consumer group, consumer [c] is still using it now"),
        ):
            answer = await desk.delete(kind, id, WISH)
            assert (answer.status, answer.body) == (400, {"error_msg": message})
            assert (await desk.delete(kind, id, Wish(ROOT, force=True))).status == 200

    with_desk(tmp_path, scene)


def test_a_key_belongs_to_one_consumer(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        jack, jim = ({"username": name, "plugins": {"key-auth": {"key": "k"}}} for name in ("jack", "jim"))
        assert (await desk.put("consumers", "jack", jack, WISH)).status == 201
        assert (await desk.put("consumers", "jack", jack, WISH)).status == 200
        answer = await desk.put("consumers", "jim", jim, WISH)
        assert answer.body == {"error_msg": "duplicate key of plugin key-auth found with consumer: jack"}

    with_desk(tmp_path, scene)


def test_a_plugin_stands_in_one_global_rule(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        rule = {"plugins": {"cors": {}}}
        assert (await desk.put("global_rules", "1", rule, WISH)).status == 201
        answer = await desk.put("global_rules", "2", rule, WISH)
        assert answer.body == {"error_msg": "plugin 'cors' already exists in global rule with id '1'"}

    with_desk(tmp_path, scene)


@pytest.mark.parametrize("attempt", range(10))
def test_a_deletion_and_a_new_reference_never_both_succeed(tmp_path: Path, attempt: int) -> None:
    async def scene(desk: Administration) -> None:
        await desk.put("upstreams", "u", UPSTREAM, WISH)
        gone, made = await asyncio.gather(
            desk.delete("upstreams", "u", WISH), desk.put("routes", "r", {"uri": "/", "upstream_id": "u"}, WISH)
        )
        assert sorted((gone.status, made.status)) in ([200, 400], [201, 400])

    with_desk(tmp_path, scene)
