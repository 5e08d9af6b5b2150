"""python -m fuzz [SECONDS] [--target NAME] [--seed N]"""

import argparse
import contextlib
import sys
import time

from fuzz.fuzzer import fuzz
from fuzz.live_targets import LIVE, live_target
from fuzz.targets import TARGETS


def main() -> int:
    options = argparse.ArgumentParser(
        prog="fuzz",
        description="Compares the compiled parsers with slow references, and plays hostile peers.",
    )
    options.add_argument("seconds", nargs="?", type=float, default=60.0, help="for each target (default: 60)")
    names = [*TARGETS, *LIVE]
    options.add_argument("--target", choices=names, action="append", help="only this one; may be repeated")
    options.add_argument("--seed", type=int, default=None, help="repeats a run (default: another one each time)")
    asked = options.parse_args()
    seed = asked.seed if asked.seed is not None else time.time_ns() & 0xFFFFFFFF
    failed = 0
    for name in asked.target or names:
        with live_target(name) if name in LIVE else contextlib.nullcontext(TARGETS[name]) as target:
            outcome = fuzz(target, asked.seconds, seed)
        print(f"{name:15} seed={seed} {outcome.runs} inputs, {outcome.outcomes} different outcomes", flush=True)
        if outcome.finding is not None:
            failed += 1
            print(
                f"  BROKEN: {outcome.finding.broken}\n  {outcome.finding.data!r}\n  {outcome.finding.save()}",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
