from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from bascule.store.entry import Batch, Entry, Event
from bascule.store.last_good import LastGood, LastGoodKeeper, LastGoodRefused
from tests.store.live_store_cases import run

ENTRIES = [
    Entry("routes/1", b'{"uri":"/\xc3\xbc\\n"}', 3, 4),
    Entry("routes/ключ", b"line\nbreak", 5, 5),
    Entry("x", b"\xff\0", 6, 6),
    Entry("empty", b"", 7, 7),
]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    file = LastGood(tmp_path / "new" / "last-good.json", "etcd")
    assert file.load() is None
    file.save(9, ENTRIES)
    assert file.load() == Batch(9, [Event(*entry) for entry in ENTRIES], complete=True)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.save(10, [])
    assert file.load() == Batch(10, [], complete=True)
    assert os.listdir(file.path.parent) == ["last-good.json"]


def test_a_file_that_was_cut_anywhere_is_refused(tmp_path: Path) -> None:
    file = LastGood(tmp_path / "last-good.json", "etcd")
    file.save(9, ENTRIES)
    whole = file.path.read_bytes()
    for length in range(len(whole)):
        file.path.write_bytes(whole[:length])
        with pytest.raises(LastGoodRefused, match=r"last-good\.json is damaged"):
            file.load()


@pytest.mark.parametrize(
    "text", [b"[]", b'{}\n"end"\n', b'{"format":2,"source":"etcd","revision":1}\n"end"\n', b"\xff"]
)
def test_other_files_are_refused(tmp_path: Path, text: bytes) -> None:
    file = LastGood(tmp_path / "last-good.json", "etcd")
    file.path.write_bytes(text)
    with pytest.raises(LastGoodRefused, match="damaged, or of another version"):
        file.load()


def test_that_of_another_source_is_refused(tmp_path: Path) -> None:
    LastGood(tmp_path / "f", "etcd, prefix /one").save(1, [])
    with pytest.raises(LastGoodRefused, match="holds the configuration of etcd, prefix /one, not of etcd, prefix /two"):
        LastGood(tmp_path / "f", "etcd, prefix /two").load()
    (tmp_path / "d").mkdir()
    with pytest.raises(LastGoodRefused, match="can't be read: is a directory"):
        LastGood(tmp_path / "d", "etcd").load()


class CountingFile(LastGood):
    saved = 0

    def save(self, *args: object) -> None:  # type: ignore[override]
        self.saved += 1
        super().save(*args)  # type: ignore[arg-type]


def test_the_keeper_writes_soon_and_not_for_every_change(tmp_path: Path) -> None:
    async def main() -> None:
        file = CountingFile(tmp_path / "f", "etcd")
        state = [1, [ENTRIES[0]]]
        keeper = LastGoodKeeper(file, lambda: tuple(state))  # type: ignore[arg-type,return-value]
        for revision in range(1, 50):
            state[0] = revision
            keeper.changed()
        await asyncio.sleep(0.9)
        batch = file.load()
        assert batch is not None
        assert (batch.revision, file.saved) == (49, 1)
        state[0] = 50
        keeper.changed()
        await keeper.close()  # doesn't wait
        batch = file.load()
        assert batch is not None
        assert (batch.revision, file.saved) == (50, 2)
        await keeper.close()
        assert file.saved == 2

    run(main())


def test_a_disk_that_takes_nothing_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        (tmp_path / "file").touch()
        keeper = LastGoodKeeper(LastGood(tmp_path / "file" / "f", "etcd"), lambda: (1, []))
        for _ in range(2):
            keeper.changed()
            await keeper.close()
        assert [record.getMessage() for record in caplog.records] == [
            f"the last good configuration can't be kept in {tmp_path}/file/f: not a directory"
        ]

    run(main())
