import json
from pathlib import Path

import pytest

from tests.cli.workplace import FEWER, SHOP, Workplace, offline


def test_a_file_becomes_the_configuration(workplace: Workplace) -> None:
    file = workplace.write(SHOP)
    checked = workplace.run("apply", file, "--check")
    assert checked.returncode == 2
    assert checked.stdout.splitlines() == [
        "+ routes/1",
        '    uri: "/one"',
        '    upstream_id: "u"',
        "+ upstreams/u",
        '    key: "uri"',
        '    nodes: {"127.0.0.1:1": 1}',
        '    type: "chash"',
        "+ consumers/anna",
        '    username: "anna"',
        '    plugins: {"key-auth": {"key": "******"}}',
        "3 to create, 0 to change, 0 to delete",
    ]
    done = workplace.run("apply", file, "--yes", "--note", "the shop")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("created 3, changed 0, deleted 0 (revision ")
    assert workplace.exported() == SHOP
    assert workplace.json("history")[0]["note"] == "the shop"

    assert workplace.ok("apply", file, "--check") == "nothing to do\n"
    assert workplace.ok("apply", file, "--yes") == "nothing to do\n"
    assert len(workplace.json("history")) == 1

    fewer = workplace.run("apply", workplace.write(FEWER), "--check")
    assert fewer.stdout.splitlines() == [
        "~ routes/1",
        '    $.uri: "/one" → "/two"',
        "- consumers/anna",
        "0 to create, 1 to change, 1 to delete",
    ]
    assert json.loads(workplace.run("apply", "shop.yaml", "--check", "--json").stdout)["delete"] == 1
    workplace.ok("apply", "shop.yaml", "--yes", "--no-prune")
    assert "consumers" in workplace.exported()
    assert json.loads(workplace.ok("apply", "shop.yaml", "--yes", "--json"))["delete"] == 1


def test_nobody_is_there_to_agree(tmp_path: Path) -> None:
    workplace = offline(tmp_path / "p")
    done = workplace.run("apply", workplace.write(SHOP))
    assert done.returncode == 1
    assert done.stderr == "bascule: nobody is there to agree: say --yes to do it, --check to only look\n"
    assert workplace.exported() == {}


def test_every_error_and_nothing_is_changed(tmp_path: Path) -> None:
    workplace = offline(tmp_path / "p")
    bad = {"routes": [{"id": "1", "uri": 1, "upstream_id": "u"}], "routs": []}
    done = workplace.run("apply", workplace.write(bad), "--yes")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        '$.routs: unknown kind of resource "routs"; did you mean "routes"?',
        "$.routes[0].uri: must be a string",
        '$.routes[0].upstream_id: names the upstream "u", which doesn\'t exist',
        "bascule: 3 errors; nothing was changed",
    ]


def test_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = offline(tmp_path / "offline")
    monkeypatch.setenv("WHERE", "/from-the-environment")
    text = 'routes: [{id: "1", uri: "${{WHERE}}", upstream: {nodes: {"127.0.0.1:1": 1}}}]'
    place.ok("apply", "-", "--yes", input=text)
    assert place.exported()["routes"][0]["uri"] == "/from-the-environment"
    place.ok("apply", place.write(json.dumps(SHOP), "shop.json"), "--yes")
    assert place.exported() == SHOP
    for name, text, error in (
        ("nowhere.yaml", None, "bascule: cannot read nowhere.yaml: no such file or directory"),
        ("bad.yaml", "a: [", "bascule: bad.yaml: line 2: "),
        ("bad.json", "{", "bascule: bad.json: "),
        ("empty.yaml", "", "bascule: empty.yaml: "),
        ("unset.yaml", "a: ${{NOT_SET}}", "bascule: unset.yaml: line 1: environment variable NOT_SET is not set"),
    ):
        if text is not None:
            place.write(text, name)
        done = place.run("apply", name, "--yes")
        assert (done.returncode, done.stderr.startswith(error)) == (1, True), done.stderr
    assert place.exported() == SHOP


def test_an_exported_file_changes_nothing(tmp_path: Path) -> None:
    workplace = offline(tmp_path / "p")
    workplace.ok("apply", workplace.write(SHOP), "--yes")
    for options in ((), ("--times",), ("--hide-secrets",)):
        workplace.write(workplace.ok("export", *options), "again.yaml")
        assert workplace.ok("apply", "again.yaml", "--check") == "nothing to do\n"
