from pathlib import Path

import pytest

from bascule.control.launch import Launch
from bascule.model.config_yaml import parse_settings


def launch(home: Path, text: str = "") -> Launch:
    return Launch(parse_settings(text.encode(), None, {}), 1, (), str(home), str(home))


def test_relative_logs_start_at_home(tmp_path: Path) -> None:
    started = launch(
        tmp_path, "nginx_config: {error_log: logs/e.log, http: {access_log: logs/a.log}}"
    ).with_writable_logs()
    assert started.engine("1").access_log_path == str(tmp_path / "logs/a.log")
    assert started.error_log == str(tmp_path / "logs/e.log")
    assert (tmp_path / "logs/a.log").exists()


def test_stdout_stays_stdout(tmp_path: Path) -> None:
    assert (
        launch(tmp_path, "nginx_config: {http: {access_log: /dev/stdout}}").engine("").access_log_path == "/dev/stdout"
    )
    assert launch(tmp_path, "nginx_config: {http: {access_log: '-'}}").engine("").access_log_path == "-"
    assert launch(tmp_path).error_log is None


def test_the_default_access_log_is_no_reason_not_to_start(caplog: pytest.LogCaptureFixture) -> None:
    started = launch(Path("/proc/nothing")).with_writable_logs()
    assert not started.engine("").access_log_enabled
    assert "no access log" in caplog.text


def test_one_that_was_asked_for_is(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="/proc/nothing") as caught:
        launch(tmp_path, "nginx_config: {http: {access_log: /proc/nothing/a.log}}").with_writable_logs()
    assert caught.value.filename == "/proc/nothing/a.log"


def test_ignored_keys_are_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    launch(tmp_path, "apisix: {extra_lua_path: x, enable_dev_mode: true}").note_ignored()
    assert len(caplog.records) == 1
    assert "apisix.extra_lua_path (no Lua here)" in caplog.text
    assert "apisix.enable_dev_mode" in caplog.text
