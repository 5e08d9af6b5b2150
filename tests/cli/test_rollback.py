from pathlib import Path

from tests.cli.workplace import SHOP, Workplace, offline


def test_back_to_a_revision(workplace: Workplace) -> None:
    first, second = workplace.two_revisions()
    checked = workplace.run("rollback", str(first), "--check")
    assert checked.returncode == 2
    assert checked.stdout.splitlines()[0] == "~ routes/1"
    assert workplace.run("rollback", str(first)).returncode == 1
    done = workplace.ok("rollback", str(first), "--yes")
    assert done.splitlines()[-1].startswith("created 1, changed 1, deleted 0 (revision ")
    assert workplace.exported() == SHOP
    assert workplace.json("history")[0]["note"] == f"rollback to revision {first}"
    assert workplace.ok("rollback", str(first), "--yes") == "nothing to do\n"
    assert workplace.json("rollback", str(second), "--yes")["update"] == 1


def test_a_revision_that_is_not_there(tmp_path: Path) -> None:
    workplace = offline(tmp_path / "p")
    workplace.two_revisions()
    done = workplace.run("rollback", "99", "--yes")
    assert done.returncode == 1
    assert done.stderr.startswith("bascule: there is no revision 99 yet; the latest is ")
