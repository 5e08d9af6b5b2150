"""python -m fuzz [SECONDS] [--target NAME] [--seed N]"""

import argparse
import sys
import time

from fuzz.fuzzer import fuzz
from fuzz.targets import TARGETS


def main() -> int:
    options = argparse.ArgumentParser(prog="fuzz", description="Compares the compiled parsers with slow references.")
    options.add_argument("seconds", nargs="?", type=float, default=60.0, help="for each target (default: 60)")
    options.add_argument("--target", choices=sorted(TARGETS), action="append", help="only this one; may be repeated")
    options.add_argument("--seed", type=int, default=None, help="repeats a run (default: another one each time)")
    asked = options.parse_args()
    seed = asked.seed if asked.seed is not None else time.time_ns() & 0xFFFFFFFF
    failed = 0
    for name in asked.target or TARGETS:
        outcome = fuzz(TARGETS[name], asked.seconds, seed)
        print(f"{name:10} seed={seed} {outcome.runs} inputs, {outcome.outcomes} different outcomes", flush=True)
        if outcome.finding is not None:
            failed += 1
            print(
                f"  BROKEN: {outcome.finding.broken}\n  {outcome.finding.data!r}\n  {outcome.finding.save()}",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
