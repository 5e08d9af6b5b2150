import asyncio
from pathlib import Path

from bascule.control.file_source import FileSource
from bascule.store.file import FileStore


def test_what_is_there_and_then_what_changes(tmp_path: Path) -> None:
    path = tmp_path / "apisix.yaml"
    path.write_text("routes: [{id: 1, uri: /a}]\n#END\n")

    async def scene() -> None:
        source = FileSource(FileStore(path, environ={}))
        step = await source.load()
        assert [(change.kind, change.id) for change in step.changes] == [("routes", "1")]
        assert step.revision == 0
        waiting = asyncio.ensure_future(source.next())
        path.write_text("routes: [{id: 2, uri: /abc}]\nplugins: [{name: cors}]\n#END\n")
        step = await asyncio.wait_for(waiting, 5)
        assert {(change.id, change.value is None) for change in step.changes} == {("1", True), ("2", False)}
        assert step.plugins == ("cors",)
        assert source.trouble is None

    asyncio.run(scene())
