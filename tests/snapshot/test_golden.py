"""Whole configurations and what becomes of them. `python -m tests.snapshot.test_golden` writes the summaries anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bascule.model.change import Change
from tests.snapshot.bench import Bench
from tests.snapshot.summary import summary

CASES = sorted((Path(__file__).parent / "golden").glob("*.yaml"))
CASES = [path for path in CASES if not path.stem.endswith(".out")]


def compiled(path: Path) -> dict[str, Any]:
    case = yaml.safe_load(path.read_text())
    changes = [
        Change(kind, str(item["username" if kind == "consumers" else "id"]), item)
        for kind, items in case["in"].items()
        for item in items
    ]
    bench = Bench()
    bench.apply(*changes)
    probes = [(host, f"/{rest}") for host, _, rest in (request.partition("/") for request in case["requests"])]
    keys = [(plugin, key) for plugin, _, key in (key.partition(":") for key in case["keys"])]
    return summary(bench.tables, probes, keys)


def out(path: Path) -> Path:
    return path.with_suffix(".out.yaml")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    assert compiled(path) == yaml.safe_load(out(path).read_text())


if __name__ == "__main__":
    for case_path in CASES:
        out(case_path).write_text(yaml.safe_dump(compiled(case_path), sort_keys=False, width=120))
