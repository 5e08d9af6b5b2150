import os
from pathlib import Path
from typing import Any

import pytest

from bascule.admin.configs import Configs, exported
from bascule.admin.file_keeper import FileKeeper
from bascule.admin.validator import Validator
from bascule.admin.whole import Replacement
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment
from bascule.store.entry import Conflict, StoreUnavailable
from bascule.store.file import FileStore
from tests.admin.stand import ME, SHOP, run


def keeper_in(folder: Path, name: str = "apisix.yaml") -> FileKeeper:
    return FileKeeper(folder / name, folder / "data" / "standalone.json")


def configs_of(keeper: FileKeeper) -> Configs:
    check = Validator(Registry(), resolve=from_environment(os.environ)).check
    return Configs(keeper, check, lambda kind, value: [])


@pytest.mark.parametrize("name", ["apisix.yaml", "apisix.json"])
def test_what_is_put_is_what_the_gateway_reads(name: str, tmp_path: Path) -> None:
    async def main() -> None:
        keeper = keeper_in(tmp_path, name)
        plugins = [{"name": "key-auth"}]
        await configs_of(keeper).apply({**SHOP, "plugins": plugins}, ME, prune=True, mark=lambda *_: {"digest": "d"})
        loaded = FileStore(tmp_path / name, environ={}).load()
        assert not loaded.errors
        assert (len(loaded.changes), loaded.plugins) == (6, ("key-auth",))
        whole = await keeper.read()
        assert exported(whole) == SHOP
        assert (whole.plugins, whole.mark) == (plugins, {"digest": "d"})
        await configs_of(keeper).apply({"routes": [{"id": "3", "uri": "/c", "service_id": "s"}]}, ME, prune=False)
        assert (await keeper.read()).plugins == plugins
        await configs_of(keeper).apply({}, ME, prune=True)
        whole = await keeper.read()
        assert (whole.items, whole.plugins) == ({}, None)

    run(main())


def test_a_file_that_somebody_else_wrote_meanwhile(tmp_path: Path) -> None:
    async def main() -> None:
        keeper = keeper_in(tmp_path)
        before = await keeper.read()
        (tmp_path / "apisix.yaml").write_text("routes: []\n#END\n")
        with pytest.raises(Conflict):
            await keeper.write(Replacement(before, [], {}, ME))
        assert (tmp_path / "apisix.yaml").read_text() == "routes: []\n#END\n"

    run(main())


def test_a_file_that_is_no_document_can_only_be_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "apisix.yaml").write_text("a: [\n")
        keeper = keeper_in(tmp_path)
        assert str((await keeper.read()).trouble).startswith(f"{tmp_path}/apisix.yaml cannot be read: line 2")
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            await configs_of(keeper).apply(SHOP, ME, prune=False)
        await configs_of(keeper).apply(SHOP, ME, prune=True)
        assert exported(await keeper.read()) == SHOP

    run(main())


def test_references_to_the_environment_stay(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "apisix.yaml").write_text("upstreams: [{id: u, nodes: {}, desc: '${{WHAT:=x}}'}]\n#END\n")
        keeper = keeper_in(tmp_path)
        await configs_of(keeper).apply({"routes": [{"id": "1", "uri": "/", "upstream_id": "u"}]}, ME, prune=False)
        assert "desc: ${{WHAT:=x}}" in (tmp_path / "apisix.yaml").read_text()

    run(main())


@pytest.mark.parametrize("mark", ["", "[]", "{"])
def test_a_mark_that_is_no_good_counts_for_nothing(mark: str, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "standalone.json").write_text(mark)
        assert (await keeper_in(tmp_path).read()).mark == {}

    run(main())


def test_what_can_not_be_read_or_written_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "apisix.yaml").mkdir()
        keeper = keeper_in(tmp_path)
        with pytest.raises(StoreUnavailable, match=r"apisix\.yaml cannot be read: is a directory"):
            await keeper.read()
        gone: Any = FileKeeper(tmp_path / "nowhere" / "apisix.yaml", tmp_path / "x")
        with pytest.raises(StoreUnavailable, match="cannot be written: no such file"):
            await configs_of(gone).apply({}, ME, prune=True)

    run(main())
