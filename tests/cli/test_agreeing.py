import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bascule.cli.agreeing import carry_out
from bascule.cli.gateway_client import PlanOutdated
from tests.cli.workplace import SHOP, Workplace, offline
from tests.servers.gateway import BASCULE


def plan(id: str, *steps: str) -> dict[str, Any]:
    told = [{"action": "delete", "kind": "routes", "id": step, "differences": []} for step in steps]
    return {"plan_id": id, "plan": told, "create": 0, "update": 0, "delete": len(steps), "revision": 1}


def test_what_is_another_plan_by_now_is_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str | None] = []

    def carry(agreed: str | None) -> dict[str, Any]:
        calls.append(agreed)
        if agreed == "old":
            raise PlanOutdated(plan("new", "1", "2"))
        return plan(agreed or "old", "1")

    assert carry_out(carry, yes=True) == 0
    assert calls == [None, "old", "new"]
    out = capsys.readouterr()
    assert out.out.splitlines()[2:5] == ["- routes/1", "- routes/2", "0 to create, 0 to change, 2 to delete"]
    assert "has changed meanwhile" in out.err


def answered(place: Workplace, answer: bytes) -> tuple[int, str]:
    """`apply` at a terminal where somebody types."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [BASCULE, "apply", place.write(SHOP), "--config", "config.yaml"],
            cwd=place.folder,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        os.write(ours, answer)
        out, _ = process.communicate(timeout=30)
        return process.returncode, out.decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_people_are_asked(tmp_path: Path) -> None:
    place = offline(tmp_path / "p")
    code, out = answered(place, b"n\n")
    assert code == 1
    assert "Do this? [y/N]" in out
    assert "nothing was changed" in out
    assert place.exported() == {}
    code, out = answered(place, b"y\n")
    assert code == 0
    assert "created 3, changed 0, deleted 0" in out
    assert place.exported() == SHOP
