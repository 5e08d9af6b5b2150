"""Log text goes to its file in order; rotation, a full queue and a failing disk."""

import os
import threading
from pathlib import Path

import pytest

from bascule.engine.log_writer import LogWriter


def test_text_is_appended_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "access.log"
    for part in range(2):
        writer = LogWriter(str(path))
        for n in range(500):
            writer.write(b"%d-%d\n" % (part, n))
        writer.close()
    lines = path.read_text().splitlines()
    assert lines == [f"{part}-{n}" for part in range(2) for n in range(500)]


def test_reopen_follows_a_rotation(tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    first = LogWriter(str(path))
    first.write(b"before\n")
    first.close()
    writer = LogWriter(str(path))
    path.rename(old)
    writer.reopen()
    writer.write(b"after\n")
    writer.close()
    assert (old.read_text(), path.read_text()) == ("before\n", "after\n")


def test_a_disk_that_does_not_keep_up_costs_lines_not_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, real = threading.Event(), os.write

    def slow(fd: int, data: bytes) -> int:
        assert go.wait(10)
        return real(fd, data)

    monkeypatch.setattr("bascule.engine.log_writer.os.write", slow)
    writer = LogWriter(str(tmp_path / "log"), max_pending_bytes=1000)
    for _ in range(100):
        writer.write(b"x" * 99 + b"\n")
    assert 100 * 100 - 1200 <= writer.dropped_bytes <= 100 * 100 - 1000
    go.set()
    writer.close()
    assert (tmp_path / "log").stat().st_size + writer.dropped_bytes == 100 * 100


def test_a_failing_write_is_told_and_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    writer = LogWriter("/dev/full")
    writer.write(b"lost\n")
    writer.close()
    assert writer.dropped_bytes == 5
    assert "access log /dev/full: No space left on device" in capfd.readouterr().err
