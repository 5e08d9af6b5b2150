import os

import pytest

from bascule.net.sealed_memory import sealed_memory


def test_it_has_its_size_and_begins_with_its_head() -> None:
    fd = sealed_memory("test", 5000, b"head")
    try:
        assert os.pread(fd, 6000, 0) == b"head" + bytes(4996)
        for size in (4999, 5001):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, size)
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_nothing_is_left_open_when_it_can_not_be_made() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="Invalid argument"):
        sealed_memory("test", -1, b"")
    assert os.listdir("/proc/self/fd") == before
