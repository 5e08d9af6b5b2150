import asyncio
from pathlib import Path
from typing import Any

from bascule.admin.administration import Administration
from bascule.admin.uniqueness import folder_of
from tests.admin.desk import WISH, with_desk


def rule(*plugins: str) -> dict[str, Any]:
    return {"plugins": {plugin: {} for plugin in plugins}}


def test_folders() -> None:
    assert folder_of("global_rules", "1") == "global_rules/"
    assert folder_of("graphql_cost_decorations", "s/graphql_cost_decorations/d") == (
        "services/s/graphql_cost_decorations/"
    )


def test_a_plugin_stands_in_one_global_rule(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        assert (await desk.put("global_rules", "1", rule("cors"), WISH)).status == 201
        assert (await desk.put("global_rules", "1", rule("cors", "real-ip"), WISH)).status == 400
        assert (await desk.put("global_rules", "1", rule("cors", "request-id"), WISH)).status == 200
        answer = await desk.put("global_rules", "2", rule("request-id"), WISH)
        assert answer.body == {"error_msg": "plugin 'request-id' already exists in global rule with id '1'"}
        assert (await desk.put("global_rules", "2", rule("prometheus"), WISH)).status == 201
        patched = await desk.patch("global_rules", "2", (), rule("cors"), WISH)
        assert patched.body == {"error_msg": "plugin 'cors' already exists in global rule with id '1'"}

    with_desk(tmp_path, scene)


def test_of_many_at_once_one_rule_gets_the_plugin(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        answers = await asyncio.gather(
            *(desk.put("global_rules", f"{n}", rule("cors"), WISH) for n in range(20)),
            *(desk.put("global_rules", name, rule(name), WISH) for name in ("request-id", "prometheus")),
        )
        assert sorted(answer.status for answer in answers) == 3 * [201] + 19 * [400], [a.body for a in answers]

    with_desk(tmp_path, scene)


def test_a_field_is_decorated_once_in_a_service(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        for service in ("s", "t"):
            await desk.put("services", service, {}, WISH)
        field = {"field_path": "Query.products"}
        made = await desk.put("graphql_cost_decorations", "s/graphql_cost_decorations/d", field, WISH)
        assert made.status == 201
        assert made.body["value"]["service_id"] == "s"
        assert (await desk.put("graphql_cost_decorations", "t/graphql_cost_decorations/d", field, WISH)).status == 201
        answer = await desk.post("graphql_cost_decorations", field, WISH, "s")
        assert answer.body == {"error_msg": "field_path Query.products is already decorated on this service by [d]"}
        moved = await desk.patch(
            "graphql_cost_decorations", "s/graphql_cost_decorations/d", (), {"service_id": "t"}, WISH
        )
        assert moved.body == {"error_msg": "service_id can not be patched"}
        elsewhere = await desk.post("graphql_cost_decorations", {**field, "service_id": "t"}, WISH, "s")
        assert elsewhere.body == {"error_msg": "wrong service_id, it is taken from the path"}
        posts = [desk.post("graphql_cost_decorations", {"field_path": "Query.x"}, WISH, "s") for _ in range(20)]
        assert sorted(answer.status for answer in await asyncio.gather(*posts)) == [201] + 19 * [400]

    with_desk(tmp_path, scene)
