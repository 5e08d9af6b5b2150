from pathlib import Path

from bascule.admin.administration import Administration
from bascule.store.entry import Origin, Put
from tests.admin.desk import ROOT, ROUTE, WISH, with_desk


def test_an_id_that_leads_to_another_kind_finds_nothing(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        await desk.put("consumers", None, {"username": "jack"}, WISH)
        credential = {"plugins": {"key-auth": {"key": "k"}}}
        await desk.put("credentials", "jack/credentials/c", credential, WISH)
        assert (await desk.get("consumers", "jack/credentials/c", ROOT)).status == 404
        assert (await desk.delete("consumers", "jack/credentials/c", WISH)).status == 404
        assert (await desk.put("routes", "a/b", dict(ROUTE), WISH)).body == {"error_msg": "wrong route id"}
        assert (await desk.get("credentials", "jack/credentials/c", ROOT)).status == 200

    with_desk(tmp_path, scene)


def test_long_lists_are_whole_filtered_and_in_order(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        routes = [Put(f"routes/{n}", b'{"uri": "/%d", "name": "n%d"}' % (n, n)) for n in range(1000)]
        await desk.store.write(routes, Origin("test"))
        answer = await desk.list("routes", {}, ROOT)
        assert answer.body["total"] == len(answer.body["list"]) == 1000
        filtered = await desk.list("routes", {"name": "n99", "page": "2", "page_size": "10"}, ROOT)
        assert filtered.body["total"] == 11
        assert [item["key"] for item in filtered.body["list"]] == ["/apisix/routes/999"]

    with_desk(tmp_path, scene)


def test_what_another_program_wrote_is_shown_and_can_be_deleted(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        await desk.store.write([Put("routes/1", b"init_dir"), Put("routes/2", b"[1]")], Origin("other"))
        assert (await desk.list("routes", {}, ROOT)).body["total"] == 2
        assert (await desk.get("routes", "2", ROOT)).body["value"] == {}
        assert (await desk.delete("routes", "1", WISH)).status == 200

    with_desk(tmp_path, scene)


def test_secrets_of_one_manager(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        vault = {"uri": "http://127.0.0.1:1", "prefix": "p", "token": "t"}
        assert (await desk.put("secrets", "vault/1", vault, WISH)).body["value"]["id"] == "vault/1"
        await desk.put("secrets", "aws/1", {"access_key_id": "a", "secret_access_key": "s"}, WISH)
        assert (await desk.list("secrets", {}, ROOT)).body["total"] == 2
        assert (await desk.list("secrets", {}, ROOT, "vault")).body["total"] == 1

    with_desk(tmp_path, scene)
