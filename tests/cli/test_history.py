from pathlib import Path

from tests.cli.workplace import FEWER, Workplace, offline


def test_revisions_newest_first(workplace: Workplace) -> None:
    first, second = workplace.two_revisions()
    header, newest, oldest = workplace.ok("history").splitlines()
    assert header.split() == ["REVISION", "TIME", "ACTOR", "CHANGES", "NOTE"]
    assert newest.split()[0] == str(second)
    assert "~routes/1, -consumers/anna" in newest
    assert "+routes/1, +upstreams/u, +consumers/anna" in oldest
    found = workplace.json("history", "--limit", "1", "--before", str(second))
    assert [told["revision"] for told in found] == [first]
    assert [told["revision"] for told in workplace.json("history", "--prefix", "upstreams/")] == [first]
    assert found[0]["actor"]


def test_what_is_long_is_cut_short(tmp_path: Path) -> None:
    workplace = offline(tmp_path / "p")
    many = {**FEWER, "services": [{"id": str(number)} for number in range(5)]}
    workplace.ok("apply", workplace.write(many), "--yes")
    assert "and 4 more" in workplace.ok("history")
