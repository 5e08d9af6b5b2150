import os
import socket
from pathlib import Path

import pytest

from bascule.control.service_manager import tell_service_manager


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_which_process_serves(tmp_path: Path, abstract: bool) -> None:
    name = f"@bascule-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        manager.bind("\0" + name[1:] if abstract else name)
        tell_service_manager(name)
        assert manager.recv(100) == f"READY=1\nMAINPID={os.getpid()}\n".encode()


def test_without_a_service_manager_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    tell_service_manager(None)
    tell_service_manager("")
    assert caplog.records == []
    tell_service_manager("/nowhere/notify")
    assert "/nowhere/notify" in caplog.text
