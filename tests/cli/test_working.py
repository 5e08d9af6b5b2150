from pathlib import Path

from tests.cli.workplace import Workplace, offline


def test_a_configuration_that_is_no_good(tmp_path: Path) -> None:
    place = offline(tmp_path / "p")
    (place.folder / "config.yaml").write_text("apisix: {node_listen: x}\n")
    for command in (("history",), ("diff",), ("rollback", "1"), ("export",), ("apply", "-")):
        done = place.run(*command, input="{}")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "bascule: 1 error in the configuration"
    (place.folder / "config.yaml").unlink()
    assert place.run("history").stderr == "bascule: cannot read config.yaml: no such file or directory\n"


def test_one_error_is_told_in_one_line(workplace: Workplace) -> None:
    file = workplace.write({"routes": [{"id": "1", "uri": 1, "upstream": {"nodes": {}}}]})
    done = workplace.run("apply", file, "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("bascule: ")
    assert "$.routes[0].uri: must be a string" in done.stderr
