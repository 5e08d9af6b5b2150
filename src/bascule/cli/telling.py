"""Plans and revisions as people read them: a line for each resource, below it what differs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bascule.cli.gateway_client import Told

_SIGNS = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}
_LONGEST = 400  # characters of a value


def console() -> Console:
    """For stdout; as wide as the text wants where it is no terminal."""
    width = None if sys.stdout.isatty() else 10_000
    return Console(soft_wrap=True, width=width, highlight=False)


def tell_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def tell_plan(out: Console, steps: Iterable[Told]) -> None:
    for step in steps:
        sign, colour = _SIGNS[step["action"]]
        out.print(Text(f"{sign} {step['kind']}/{step['id']}", style=f"bold {colour}"))
        if step["action"] != "delete":
            for difference in step.get("differences", ()):
                for line in _lines(difference):
                    out.print(Text(f"    {line}"))


def tell_counts(out: Console, plan: Mapping[str, Any], *, done: bool = False) -> None:
    if done:
        text = f"created {plan['create']}, changed {plan['update']}, deleted {plan['delete']}"
        revision = plan.get("revision")
        out.print(Text(f"{text}{f' (revision {revision})' if revision else ''}"))
    else:
        out.print(Text(f"{plan['create']} to create, {plan['update']} to change, {plan['delete']} to delete"))


def tell_history(out: Console, revisions: Iterable[Told]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("REVISION", "TIME", "ACTOR", "CHANGES", "NOTE"):
        table.add_column(name, justify="right" if name == "REVISION" else "left", no_wrap=name in ("REVISION", "TIME"))
    for told in revisions:
        time = datetime.fromtimestamp(told["time"]).astimezone().isoformat(" ", "seconds")
        table.add_row(
            str(told["revision"]), time, Text(told["actor"]), Text(_changes(told["changes"])), Text(told["note"])
        )
    out.print(table)


def _changes(changes: list[Told]) -> str:
    shown = [f"{_SIGNS[change['action']][0]}{change['kind']}/{change['id']}" for change in changes[:3]]
    if len(changes) > len(shown):
        shown.append(f"and {len(changes) - len(shown)} more")
    return ", ".join(shown)


def _lines(difference: Told) -> Iterable[str]:
    if difference["path"] == "$" and isinstance(difference.get("after"), dict):
        for name, value in difference["after"].items():
            yield f"{name}: {_short(value)}"
    elif "before" not in difference:
        yield f"{difference['path']}: + {_short(difference['after'])}"
    elif "after" not in difference:
        yield f"{difference['path']}: - {_short(difference['before'])}"
    else:
        yield f"{difference['path']}: {_short(difference['before'])} → {_short(difference['after'])}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
