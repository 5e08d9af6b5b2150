import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bascule.control.logs import set_up


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "error.log"
    set_up("warn", str(path), "worker 0")
    logging.getLogger("bascule.plugin.cors").warning("what %s", "happened")
    logging.getLogger("bascule.worker").error("bad")
    logging.getLogger("bascule.worker").info("below the level")
    first, second = path.read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z warn worker 0\[\d+\] plugin.cors: what happened", first)
    assert second.endswith("]: bad")


def test_a_rotated_file_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    set_up("info", str(path), "supervisor")
    logging.getLogger("bascule").info("one")
    path.rename(tmp_path / "error.log.1")
    logging.getLogger("bascule").info("two")
    assert path.read_text().endswith(": two\n")


def test_a_folder_that_can_not_be_made() -> None:
    with pytest.raises(OSError, match="proc"):
        set_up("info", "/proc/nothing/error.log", "supervisor")
