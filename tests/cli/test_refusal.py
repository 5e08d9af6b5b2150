import pytest

from bascule.cli.refusal import count, fail, fail_with
from bascule.errors.config_error import ConfigError, ConfigRefused


def test_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail("no", 2) == 2
    assert capsys.readouterr().err == "bascule: no\n"


def test_every_error_of_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(ConfigRefused([ConfigError("routes", "1", "$.uri", "is required", "f", 3)])) == 1
    assert capsys.readouterr().err == "f:3: routes[1] $.uri: is required\nbascule: 1 error in the configuration\n"


def test_a_file_that_can_not_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(OSError(13, "Permission denied", "/x")) == 1
    assert capsys.readouterr().err == "bascule: cannot read /x: permission denied\n"


def test_counting() -> None:
    assert (count(1, "error"), count(2, "error"), count(0, "error")) == ("1 error", "2 errors", "0 errors")
