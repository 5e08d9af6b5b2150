"""A plan is shown, agreed to, and carried out; if it is another one by then, it is shown again."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bascule.cli.gateway_client import GatewayRefused, PlanOutdated, Told
from bascule.cli.telling import console, tell_counts, tell_json, tell_plan

Carry = Callable[[str | None], Told]
WOULD_CHANGE = 2  # exit code


def carry_out(carry: Carry, *, yes: bool, check: bool = False, as_json: bool = False) -> int:
    """`carry(None)` gives the plan, `carry(its id)` does it. The exit code. Raises GatewayRefused."""
    plan = carry(None)
    while True:
        if not plan["plan"]:
            _tell(plan, as_json, "nothing to do")
            return 0
        if check:
            _tell(plan, as_json)
            return WOULD_CHANGE
        if not as_json:
            _tell(plan, False)
        if not yes and not _agrees():
            return 1
        try:
            done = carry(plan["plan_id"])
        except PlanOutdated as outdated:
            plan = outdated.now
            print("bascule: the configuration has changed meanwhile; the plan is now:", file=sys.stderr)
            continue
        if as_json:
            tell_json(done)
        else:
            tell_counts(console(), done, done=True)
        return 0


def _tell(plan: Told, as_json: bool, instead: str | None = None) -> None:
    if as_json:
        tell_json(plan)
    elif instead is not None:
        print(instead)
    else:
        out = console()
        tell_plan(out, plan["plan"])
        tell_counts(out, plan)


def _agrees() -> bool:
    if not sys.stdin.isatty():
        raise GatewayRefused("nobody is there to agree: say --yes to do it, --check to only look")
    print("Do this? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("bascule: nothing was changed", file=sys.stderr)
    return False
