import re
import subprocess
from pathlib import Path

from tests.servers.gateway import BASCULE


def check(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [BASCULE, "check", *args], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert "Traceback" not in done.stderr
    return done


GOOD = "routes:\n- id: 1\n  uri: /x\n  plugins:\n    key-auth: {}\n#END\n"
BAD = """\
routes:
  - id: 1
    uri: /x
    plugins:
      key-auth:
        headr: x
      nonsense: {}
    upstream:
      nodes: {"127.0.0.1:1": -1}
  - id: 1
    uri: /y
servces: []
#END
"""


def test_nothing_to_complain_about(tmp_path: Path) -> None:
    (tmp_path / "apisix.yaml").write_text(GOOD)
    done = check(tmp_path)
    assert (done.returncode, done.stdout) == (0, "1 resource, no errors\n")


def test_every_error_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "apisix.yaml").write_text(BAD)
    done = check(tmp_path)
    assert done.returncode == 1
    assert [line.replace(f"{tmp_path}/", "") for line in done.stdout.splitlines()] == [
        'apisix.yaml:6: routes[1] $.plugins.key-auth.headr: unknown attribute "headr"; did you mean "header"?',
        'apisix.yaml:7: routes[1] $.plugins.nonsense: unknown plugin "nonsense"',
        'apisix.yaml:9: routes[1] $.upstream.nodes["127.0.0.1:1"]: must be at least 0',
        'apisix.yaml:10: $.routes[1]: the id "1" is taken by $.routes[0]; this one is left out',
        'apisix.yaml:12: $.servces: unknown kind of resource "servces"; did you mean "services"?',
    ]
    assert done.stderr == "bascule: 5 errors in 1 resource\n"


def test_files_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.json").write_text('{"routes": [\n{"id": 1, "uri": 7}]}')
    done = check(tmp_path, "a.yaml", "b.json", "c.yaml")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == ["c.yaml: there is no such file"]
    assert done.stdout.startswith("b.json:2: routes[1] $.uri: must be a string")


def test_config_yaml_and_plugin_code_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("plugins: [cors, no-such]\nbascule: {plugins: [broken.py]}\n")
    (tmp_path / "broken.py").write_text("def broken(:")
    done = check(tmp_path)
    assert done.returncode == 1
    assert "broken.py" in done.stdout
    assert "config.yaml: $.plugins: there is no plugin 'no-such'" in done.stdout
    (tmp_path / "config.yaml").write_text("plugin: []\n")
    assert 'did you mean "plugins"' in check(tmp_path).stderr


def test_configurations_of_the_page_about_secrets(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "secrets.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    names = [f"{number}.yaml" for number in range(len(blocks))]
    for name, block in zip(names, blocks, strict=True):
        (tmp_path / name).write_text(block)
    done = check(tmp_path, *names)
    assert (done.returncode, done.stdout) == (0, "10 resources, no errors\n")


def test_with_a_store_it_says_that_resources_are_checked_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("apisix: {node_listen: 1}")
    done = check(tmp_path)
    assert done.returncode == 0
    assert "the resources are in the embedded store" in done.stdout
