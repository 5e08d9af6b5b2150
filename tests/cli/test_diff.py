from pathlib import Path

from tests.cli.workplace import Workplace, offline


def test_between_revisions(workplace: Workplace) -> None:
    first, second = workplace.two_revisions()
    changes = ["~ routes/1", '    $.uri: "/one" → "/two"', "- consumers/anna"]
    assert workplace.ok("diff").splitlines() == changes
    assert workplace.ok("diff", str(first)).splitlines() == changes
    assert workplace.ok("diff", str(first), str(second)).splitlines() == changes
    back = workplace.ok("diff", str(second), str(first))
    assert '$.uri: "/two" → "/one"' in back
    assert '{"key": "******"}' in back
    assert workplace.ok("diff", str(second)) == "no difference\n"
    assert workplace.json("diff", str(first))[0]["differences"] == [
        {"path": "$.uri", "before": "/one", "after": "/two"}
    ]


def test_what_can_not_be_compared(tmp_path: Path) -> None:
    place = offline(tmp_path / "empty")
    done = place.run("diff")
    assert done.returncode == 1
    assert "there is no store at" in done.stderr
    place.two_revisions()
    assert place.run("diff", "99").stderr.startswith("bascule: there is no revision 99 yet")
    assert place.run("diff", "x").returncode == 2
