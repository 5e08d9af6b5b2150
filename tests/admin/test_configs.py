from pathlib import Path
from typing import Any

import orjson
import pytest

from bascule.admin.configs import Configs, ConfigsRefused, PlanChanged, exported, read_document
from bascule.admin.diff import HIDDEN
from bascule.admin.secret_places import SecretPlaces
from bascule.admin.whole import Replacement
from bascule.store.entry import Origin, Put
from bascule.store.sealing import Sealer
from tests.admin.stand import ME, SHOP, UPSTREAM, fields_of, run, standing

SECRETS = SecretPlaces(Sealer((), fields_of, False))


def told(error: ConfigsRefused) -> list[dict[str, Any]]:
    return [fault.told() for fault in error.faults]


def test_a_document_is_put_in_place_in_one_revision(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            first = await stand.configs.apply(SHOP, ME, prune=True)
            assert [(step.action, step.kind) for step in first.steps][:2] == [
                ("create", "routes"),
                ("create", "routes"),
            ]
            again = await stand.configs.apply(SHOP, ME, prune=True)
            assert (again.steps, again.revision) == ((), first.revision)
            assert exported(await stand.configs.read()) == SHOP

            fewer = {"routes": [{"id": "1", "uri": "/new", "upstream": UPSTREAM}]}
            planned = await stand.configs.apply(fewer, ME, prune=True, dry_run=True)
            assert exported(await stand.configs.read()) == SHOP
            done = await stand.configs.apply(fewer, ME, prune=True)
            assert done.steps == planned.steps
            assert done.revision == first.revision + 1
            assert done.told() | {"plan": None} == {
                "dry_run": False,
                "revision": done.revision,
                "plan_id": planned.plan_id,
                "create": 0,
                "update": 1,
                "delete": 5,
                "plan": None,
            }
            assert exported(await stand.configs.read()) == fewer

    run(main())


def test_without_pruning_the_others_stay(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            await stand.configs.apply(SHOP, ME, prune=True)
            await stand.configs.apply({"routes": [{"id": "3", "uri": "/c", "upstream_id": "u"}]}, ME, prune=False)
            assert [route["id"] for route in exported(await stand.configs.read())["routes"]] == ["1", "2", "3"]

    run(main())


def test_times_are_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            await stand.configs.apply({"upstreams": [{"id": "u", **UPSTREAM}]}, ME, prune=True)
            [first] = exported(await stand.configs.read(), times=True)["upstreams"]
            await stand.configs.apply({"upstreams": [{"id": "u", **UPSTREAM, "name": "n"}]}, ME, prune=True)
            [second] = exported(await stand.configs.read(), times=True)["upstreams"]
            assert second["create_time"] == first["create_time"] < second["update_time"]

    run(main())


def test_all_faults_with_their_places_and_nothing_is_written(tmp_path: Path) -> None:
    document = {
        "routes": [
            {"id": "1", "uri": 7, "upstream_id": "u"},
            {"id": "2", "uri": "/", "plugins": {"nonsense": {}}},
        ],
        "consumers": [
            {"username": "anna", "group_id": "g"},
            {"id": "bert/credentials/c", "plugins": {"key-auth": {"key": "k"}}},
        ],
        "routs": [],
    }

    async def main() -> None:
        async with standing(tmp_path) as stand:
            with pytest.raises(ConfigsRefused) as caught:
                await stand.configs.apply(document, ME, prune=True)
            found = [(fault.get("path"), fault["error"]) for fault in told(caught.value)]
            assert found == [
                ("$.routs", 'routs: unknown kind of resource "routs"; did you mean "routes"?'),
                ("$.routes[0].uri", 'property "uri" validation failed: wrong type: expected string, got number'),
                ("$.routes[1].plugins.nonsense", "unknown plugin [nonsense]"),
                ("$.routes[0].upstream_id", "failed to fetch upstream info by upstream id [u], response code: 404"),
                (
                    "$.consumers[0].group_id",
                    "failed to fetch consumer group info by consumer group id [g], response code: 404",
                ),
                ("$.consumers[1]", "consumer not found"),
            ]
            assert told(caught.value)[1]["resource_id"] == "1"
            assert (await stand.configs.read()).items == {}

    run(main())


def test_with_an_id_twice_references_are_not_judged(tmp_path: Path) -> None:
    document = {"routes": [{"id": "1", "uri": "/", "upstream_id": "u"}, {"id": "1", "uri": "/", "upstream_id": "u"}]}

    async def main() -> None:
        async with standing(tmp_path) as stand:
            with pytest.raises(ConfigsRefused) as caught:
                await stand.configs.apply(document, ME, prune=True)
            assert [fault["error"] for fault in told(caught.value)] == ["found duplicate id 1 in routes"]

    run(main())


def test_deleting_what_is_still_used_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            await stand.configs.apply(SHOP, ME, prune=True)
            with pytest.raises(ConfigsRefused) as caught:
                await stand.configs.apply({**SHOP, "upstreams": []}, ME, prune=True)
            assert {fault["path"] for fault in told(caught.value)} == {
                "$.routes[0].upstream_id",
                "$.services[0].upstream_id",
            }

    run(main())


@pytest.mark.parametrize("document", [[1], "text", {"routes": {}}, {"routes": [1]}, {"routes": [{"id": []}]}])
def test_documents_of_any_shape(document: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            with pytest.raises(ConfigsRefused) as caught:
                await stand.configs.apply(document, ME, prune=True)
            assert all(fault["path"].startswith("$") and fault["message"] for fault in told(caught.value))

    run(main())


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"routes": [{"id": 1}, {"id": "1"}]}, "found duplicate id 1 in routes"),
        ({"consumers": [{"username": "a"}, {"username": "a"}]}, "found duplicate username a in consumers"),
        (
            {"consumers": [{"id": "a/credentials/c"}, {"id": "a/credentials/c"}]},
            "found duplicate credential id a/credentials/c in consumers",
        ),
    ],
)
def test_duplicates_in_apisix_words(document: Any, text: str) -> None:
    items, faults = read_document(document)
    assert len(items) == 1
    assert [(fault.index, fault.fault.error_msg) for fault in faults] == [(1, text)]


def test_hidden_secrets_stay_as_they_are(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            await stand.configs.apply(SHOP, ME, prune=True)
            shown = exported(await stand.configs.read(), SECRETS)
            assert shown["consumers"][1]["plugins"]["key-auth"]["key"] == HIDDEN
            applied = await stand.configs.apply(shown, ME, prune=True)
            assert applied.steps == ()
            shown["consumers"] += [{"username": "b", "plugins": {"key-auth": {"key": HIDDEN}}}]
            with pytest.raises(ConfigsRefused) as caught:
                await stand.configs.apply(shown, ME, prune=True)
            assert told(caught.value) == [
                {
                    "resource_type": "consumers",
                    "resource_id": "b",
                    "index": 2,
                    "path": "$.consumers[2].plugins.key-auth.key",
                    "error": "there is no secret to keep",
                    "message": 'says "******", and there is no secret to keep',
                }
            ]

    run(main())


def test_whoever_comes_in_between_is_taken_into_account(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            await stand.configs.apply(SHOP, ME, prune=True)
            others = iter(range(3))

            class Keeper:
                """Somebody else writes between each reading and writing, three times."""

                async def read(self) -> Any:
                    return await stand.keeper.read()

                takes_plugins = False

                async def write(self, new: Replacement) -> int:
                    number = next(others, None)
                    if number is not None:
                        await stand.store.write([Put(f"routes/o{number}", b'{"uri": "/o"}')], Origin("other"))
                    return await stand.keeper.write(new)

            configs = Configs(Keeper(), lambda kind, id, value: [], SECRETS)
            applied = await configs.apply({"upstreams": [{"id": "u", **UPSTREAM}]}, ME, prune=True)
            assert {step.id for step in applied.steps} >= {"o0", "o1", "o2"}
            assert exported(await stand.configs.read()) == {"upstreams": [{"id": "u", **UPSTREAM}]}

    run(main())


def test_a_plan_that_somebody_agreed_to(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            planned = await stand.configs.apply(SHOP, ME, prune=True, dry_run=True)
            await stand.configs.apply({"upstreams": [{"id": "v", **UPSTREAM}]}, ME, prune=False)
            with pytest.raises(PlanChanged) as caught:
                await stand.configs.apply(SHOP, ME, prune=True, agreed=planned.plan_id)
            assert "v" in {step.id for step in caught.value.now.steps}
            assert list((await stand.configs.read()).items) == [("upstreams", "v")]
            done = await stand.configs.apply(SHOP, ME, prune=True, agreed=caught.value.now.plan_id)
            assert done.plan_id == caught.value.now.plan_id

    run(main())


def test_what_is_wrong_already_may_stay_and_does_not_get_worse(tmp_path: Path) -> None:
    split = {"plugins": {"traffic-split": {"rules": [{"weighted_upstreams": [{"upstream_id": "gone"}]}]}}}

    async def main() -> None:
        async with standing(tmp_path) as stand:
            configs = Configs(stand.keeper, lambda kind, id, value: [], SECRETS)
            await stand.store.write([Put("plugin_configs/1", orjson.dumps(split))], ME)
            await configs.apply({"upstreams": [{"id": "u", **UPSTREAM}]}, ME, prune=False)
            with pytest.raises(ConfigsRefused):
                await configs.apply({"plugin_configs": [{"id": "2", **split}]}, ME, prune=False)

    run(main())


def test_a_list_of_plugins_has_no_place_in_a_store(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            with pytest.raises(ConfigsRefused) as caught:
                await stand.configs.apply({"plugins": [{"name": "cors"}]}, ME, prune=True)
            assert [fault["path"] for fault in told(caught.value)] == ["$.plugins"]

    run(main())
