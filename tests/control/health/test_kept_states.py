import asyncio
import os

import pytest

from bascule.control.health.kept_states import KeptStates, read
from tests.control.health.asked import eventually


def kept(*documents: bytes) -> KeptStates:
    made = KeptStates()
    for document in documents:
        made.look = lambda: document  # noqa: B023  (called at once)
        made.save()
    return made


@pytest.mark.parametrize("sizes", [(0,), (10,), (10, 10, 10), (10, 5000, 7, 3, 9000, 1), (70_000, 70_000, 2)])
def test_the_latest_is_read(sizes: tuple[int, ...]) -> None:
    documents = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    made = kept(*documents)
    assert read(made.fd) == documents[-1]
    assert os.fstat(made.fd).st_size <= 2 * max(sizes) + 100
    assert repr(made) == f"<kept states: {sizes[-1]} bytes>"


def test_an_older_one_holds_until_the_next_is_whole() -> None:
    made = kept(b"old")
    head = os.pread(made.fd, 100, 0)
    made.look = lambda: b"newer"
    made.save()
    # As if the process had been killed between the document and the head that points to it.
    os.pwrite(made.fd, head[:28], 0)
    assert read(made.fd) == b"old"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "nothing was kept"),
        (b"HEALTH 1", "nothing was kept"),
        (b"\0" * 40, "kept in another way"),
        (b"HEALTH 1" + b"\xff" * 32, "kept in another way"),
    ],
)
def test_what_is_no_document(content: bytes, reason: str) -> None:
    fd = os.memfd_create("test")
    os.write(fd, content)
    with pytest.raises(ValueError, match=reason):
        read(fd)
    KeptStates().inherit(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_damaged_one() -> None:
    made = kept(b"a document")
    os.pwrite(made.fd, b"b", 28)
    with pytest.raises(ValueError, match="damaged"):
        read(made.fd)


def test_an_heir_gets_it_once() -> None:
    old, heir = kept(b"known"), KeptStates()
    heir.inherit(os.dup(old.fd))
    assert heir.inherited() == [b"known"]
    assert heir.inherited() == []
    heir.save()  # nobody knows anything yet
    assert os.fstat(heir.fd).st_size == 0


def test_changes_are_written_together() -> None:
    looked: list[int] = []

    def look() -> bytes:
        looked.append(1)
        return b"x" * len(looked)

    async def run() -> None:
        made = KeptStates()
        made.look = look
        made.changed()
        made.changed()
        await eventually(lambda: os.fstat(made.fd).st_size)
        assert (len(looked), read(made.fd)) == (1, b"x")
        made.changed()
        made.stop()

    asyncio.run(run())


def test_without_memory_it_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    made = kept(b"known")
    held = made.fd
    try:
        made.fd = os.open("/dev/full", os.O_RDWR)
        made.save()
        made.save()
        os.close(made.fd)
    finally:
        made.fd = held
    assert [record.message for record in caplog.records] == [
        "health states can't be kept for the next gateway: no space left on device"
    ]
