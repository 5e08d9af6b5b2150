import io
from typing import Any

from rich.console import Console

from bascule.cli.telling import tell_counts, tell_history, tell_json, tell_plan


def told(tell: Any, *args: Any, **how: Any) -> list[str]:
    out = io.StringIO()
    tell(Console(file=out, width=200, soft_wrap=True, highlight=False), *args, **how)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_plan() -> None:
    differences = [
        {"path": "$.a", "before": 1, "after": [2]},
        {"path": "$.b", "after": "[bold]x"},
        {"path": "$.c", "before": None},
        {"path": "$.d", "before": "x" * 500, "after": ""},
    ]
    steps = [
        {"action": "create", "kind": "routes", "id": "1", "differences": [{"path": "$", "after": {"uri": "/"}}]},
        {"action": "update", "kind": "routes", "id": "2", "differences": differences},
        {"action": "delete", "kind": "routes", "id": "3", "differences": [{"path": "$", "before": {"uri": "/"}}]},
    ]
    *lines, last, gone = told(tell_plan, steps)
    assert lines == [
        "+ routes/1",
        '    uri: "/"',
        "~ routes/2",
        "    $.a: 1 → [2]",
        '    $.b: + "[bold]x"',
        "    $.c: - null",
    ]
    assert last.endswith('… (502 characters) → ""')
    assert gone == "- routes/3"


def test_counts() -> None:
    plan = {"create": 1, "update": 2, "delete": 3, "revision": 7}
    assert told(tell_counts, plan) == ["1 to create, 2 to change, 3 to delete"]
    assert told(tell_counts, plan, done=True) == ["created 1, changed 2, deleted 3 (revision 7)"]
    assert told(tell_counts, plan | {"revision": 0}, done=True) == ["created 1, changed 2, deleted 3"]


def test_history() -> None:
    changes = [{"action": "create", "kind": "routes", "id": str(number)} for number in range(5)]
    header, line = told(tell_history, [{"revision": 3, "time": 0.5, "actor": "[a]", "note": "n", "changes": changes}])
    assert header.split() == ["REVISION", "TIME", "ACTOR", "CHANGES", "NOTE"]
    assert line.split()[0] == "3"
    assert "[a]" in line
    assert "+routes/0, +routes/1, +routes/2, and 2 more" in line


def test_json(capsys: Any) -> None:
    tell_json({"ü": 1})
    assert capsys.readouterr().out == '{\n  "ü": 1\n}\n'
