"""The poller as a selector: waiting, waking, others' level-triggered descriptors. Its handles: tests of the engine."""

import os
import time

import pytest

from bascule.net.poller import Poller

IN, OUT = 1, 4
ADD, DELETE = 1, 2


@pytest.fixture
def poller() -> Poller:
    return Poller()


def test_select_waits_no_longer_than_told(poller: Poller) -> None:
    for timeout in (0, 0.03, -1):
        started = time.monotonic()
        assert poller.select(timeout, ()) == []
        spent = time.monotonic() - started
        assert max(0, timeout) <= spent < max(0, timeout) + 10


def test_select_comes_back_for_what_is_ready(poller: Poller) -> None:
    started = time.monotonic()
    assert poller.select(0, ["a callback"]) == []
    assert time.monotonic() - started < 10


def test_descriptors_of_others_are_level_triggered(poller: Poller) -> None:
    reader, writer = os.pipe()
    try:
        poller.watch_foreign(reader, IN, ADD)
        poller.watch_foreign(writer, OUT, ADD)
        assert poller.select(1, ()) == [(writer, OUT)]
        os.write(writer, b"x")
        for _ in range(2):
            assert sorted(poller.select(1, ())) == sorted([(reader, IN), (writer, OUT)])
        poller.watch_foreign(writer, 0, DELETE)
        assert poller.select(1, ()) == [(reader, IN)]
        os.read(reader, 1)
        assert poller.select(0, ()) == []
    finally:
        os.close(reader)
        os.close(writer)


def test_a_descriptor_that_cannot_be_watched_is_an_oserror(poller: Poller, tmp_path) -> None:
    with open(tmp_path / "file", "w") as file, pytest.raises(OSError, match="epoll_ctl"):
        poller.watch_foreign(file.fileno(), IN, ADD)
    assert os.fstat(poller.fileno())
