from pathlib import Path

import pytest

from bascule.cli.settings_file import read_settings


def test_without_a_file_the_defaults_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = read_settings(None, {})
    assert found.resources_path == tmp_path / "apisix.yaml"
    assert found.settings.apisix.node_listen[0].port == 9080


def test_config_yaml_here_or_in_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/config.yaml").write_text("apisix: {node_listen: 81}")
    found = read_settings(None, {})
    assert found.settings.apisix.node_listen[0].port == 81
    assert (found.folder, found.home) == (tmp_path / "conf", tmp_path), "logs/ stands beside conf/, as in APISIX"
    (tmp_path / "config.yaml").write_text("apisix: {node_listen: 82}")
    found = read_settings(None, {})
    assert found.settings.apisix.node_listen[0].port == 82
    assert (found.folder, found.home) == (tmp_path, tmp_path)


def test_a_profile_picks_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config-dev.yaml").write_text("deployment: {role_traditional: {config_provider: json}}")
    assert read_settings(None, {"APISIX_PROFILE": "dev"}).resources_path == tmp_path / "apisix-dev.json"


def test_plugin_files_are_relative_to_config_yaml(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("bascule: {plugins: [a.py, some.package, /abs/b.py]}")
    assert read_settings(tmp_path / "config.yaml", {}).user_plugins == (
        str(tmp_path / "a.py"),
        "some.package",
        "/abs/b.py",
    )


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_settings(tmp_path / "config.yaml", {})


def test_a_standalone_file_that_nobody_reads_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("apisix: {node_listen: 1}")
    read_settings(config, {}).note_unused_file()
    assert caplog.records == []
    (tmp_path / "apisix.yaml").write_text("routes: []\n#END\n")
    read_settings(config, {}).note_unused_file()
    assert "config_provider: yaml" in caplog.text
    caplog.clear()
    config.write_text("deployment: {role_traditional: {config_provider: sqlite}}")
    read_settings(config, {}).note_unused_file()
    assert caplog.records == []
