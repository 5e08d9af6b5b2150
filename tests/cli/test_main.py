import subprocess
import sys

import pytest

from bascule.cli import main as command
from tests.servers.gateway import BASCULE


def test_help_and_both_ways_to_call() -> None:
    for argv in ([BASCULE, "--help"], [sys.executable, "-m", "bascule", "--help"]):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0
        for name in ("run", "check", "version"):
            assert name in done.stdout


def test_a_broken_installation_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("no module named bascule.wire.http1", name="bascule.wire.http1")

    monkeypatch.setattr(command, "app", broken)
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("bascule: the installation is incomplete")
