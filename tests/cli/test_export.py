from pathlib import Path

import yaml

from tests.cli.workplace import SHOP, Workplace, offline


def test_the_whole_as_a_document(workplace: Workplace) -> None:
    first, _ = workplace.two_revisions()
    text = workplace.ok("export")
    assert text.endswith("#END\n")
    assert yaml.safe_load(text)["routes"] == [{"id": "1", "uri": "/two", "upstream_id": "u"}]
    assert workplace.ok("export") == text
    assert workplace.exported("--revision", str(first)) == SHOP
    assert "create_time" in workplace.exported("--times")["routes"][0]
    hidden = workplace.exported("--revision", str(first), "--hide-secrets")
    assert hidden["consumers"][0]["plugins"]["key-auth"]["key"] == "******"


def test_refusals(tmp_path: Path) -> None:
    workplace = offline(tmp_path / "p")
    workplace.two_revisions()
    done = workplace.run("export", "--revision", "99")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bascule: there is no revision 99 yet; the latest is ")
    assert workplace.run("export", "--format", "xml").returncode == 2
