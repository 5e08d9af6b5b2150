from pathlib import Path

import pytest

from bascule.admin.configs import ConfigsRefused, exported
from bascule.admin.diff import HIDDEN
from bascule.admin.history import NoRevision
from bascule.store.entry import Delete, Origin, Put
from tests.admin.stand import ME, SHOP, UPSTREAM, Stand, run, standing

U = {"id": "u", **UPSTREAM}


async def three_revisions(stand: Stand) -> list[int]:
    return [
        (await stand.configs.apply(document, Origin(actor, note), prune=True)).revision
        for document, actor, note in (
            ({"upstreams": [U]}, "anna", "first"),
            ({"upstreams": [U], "routes": [{"id": "1", "uri": "/a", "upstream_id": "u"}]}, "bert", ""),
            ({"upstreams": [U], "routes": [{"id": "1", "uri": "/b", "upstream_id": "u"}]}, "anna", ""),
        )
    ]


def test_who_changed_what_and_when(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            first, second, third = await three_revisions(stand)
            found = [told.told(differences=False) for told in await stand.history.page()]
            assert [(entry["revision"], entry["actor"], entry["note"]) for entry in found] == [
                (third, "anna", ""),
                (second, "bert", ""),
                (first, "anna", "first"),
            ]
            assert found[0]["changes"] == [{"action": "update", "kind": "routes", "id": "1"}]
            assert found[0]["time"] > 1_000_000_000
            assert [told.revision.number for told in await stand.history.page(prefix="upstreams/")] == [first]
            assert [told.revision.number for told in await stand.history.page(limit=1, before=third)] == [second]
            one = (await stand.history.one(third)).told(differences=True)
            assert one["changes"][0]["differences"] == [{"path": "$.uri", "before": "/a", "after": "/b"}]

    run(main())


def test_between_two_revisions(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            first, second, third = await three_revisions(stand)
            assert [step.action for step in await stand.history.between(first)] == ["create"]
            assert [step.action for step in await stand.history.between(third, first)] == ["delete"]
            [step] = await stand.history.between(second, third)
            assert [difference.path for difference in step.differences] == ["$.uri"]
            assert exported(await stand.history.at(second))["routes"][0]["uri"] == "/a"

    run(main())


def test_back_is_a_new_revision_with_a_note(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            _, second, third = await three_revisions(stand)
            planned = await stand.history.rollback(second, "carla", dry_run=True)
            assert planned.revision == third
            done = await stand.history.rollback(second, "carla")
            assert done.revision == third + 1
            assert done.steps == planned.steps
            [newest] = await stand.history.page(limit=1)
            assert newest.revision.origin == Origin("carla", f"rollback to revision {second}")
            assert exported(await stand.configs.read())["routes"][0]["uri"] == "/a"
            again = await stand.history.rollback(second, "carla")
            assert (again.steps, again.revision) == ((), third + 1)

    run(main())


def test_back_to_what_is_no_good_any_more_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            bad = await stand.store.write([Put("routes/1", b'{"uri": "/", "plugins": {"gone-since": {}}}')], ME)
            await stand.store.write([Delete("routes/1")], ME)
            with pytest.raises(ConfigsRefused) as caught:
                await stand.history.rollback(bad, "anna")
            assert [fault.told()["path"] for fault in caught.value.faults] == ["$.plugins.gone-since"]

    run(main())


def test_revisions_that_are_not_there(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            *_, third = await three_revisions(stand)
            for look in (stand.history.one, stand.history.at, stand.history.between):
                with pytest.raises(NoRevision, match=f"there is no revision {third + 7} yet; the latest is {third}"):
                    await look(third + 7)
            with pytest.raises(NoRevision, match="history doesn't reach back to revision -1"):
                await stand.history.at(-1)

    run(main())


def test_secrets_stay_hidden(tmp_path: Path) -> None:
    async def main() -> None:
        async with standing(tmp_path) as stand:
            await stand.configs.apply(SHOP, ME, prune=True)
            consumers = [*SHOP["consumers"][:1], {**SHOP["consumers"][1], "plugins": {"key-auth": {"key": "another"}}}]
            await stand.configs.apply({**SHOP, "consumers": consumers}, ME, prune=True)
            told = [entry.told(differences=True) for entry in await stand.history.page()]
            assert told[0]["changes"][0]["differences"] == [
                {"path": "$.plugins.key-auth.key", "before": HIDDEN, "after": HIDDEN}
            ]
            assert "a-secret-key" not in str(told)

    run(main())
