import pytest

from bascule.cli import version as command


def test_every_module_of_the_list_is_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.missing_modules() == []
    assert command.version() == 0
    out = capsys.readouterr().out
    assert out.startswith("Bascule 0")
    assert out.count(".so\n") == len(command.compiled_modules())


def test_a_missing_module_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "compiled_modules", lambda: ["bascule.wire.http1", "bascule.wire.nothing"])
    assert command.missing_modules() == ["bascule.wire.nothing"]
    assert command.version() == 1
    captured = capsys.readouterr()
    assert "NOT COMPILED" in captured.out
    assert captured.err == "bascule: 1 module not compiled; build the package again (pip install .)\n"
