"""The loop: mutate, check, keep what led to a new outcome."""

import hashlib
import random
import time
from dataclasses import dataclass
from pathlib import Path

from fuzz.mutator import Mutator
from fuzz.targets import Target

FOUND = Path(__file__).parent / "found"
MAX_BYTES = 1024  # of one input: longer ones are slow and reach nothing new, since the limits are small, too
MAX_CORPUS = 4000


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that broke an invariant, and which one."""

    target: str
    data: bytes
    broken: str

    def save(self) -> Path:
        FOUND.mkdir(exist_ok=True)
        path = FOUND / f"{self.target}-{hashlib.sha256(self.data).hexdigest()[:12]}"
        path.write_bytes(self.data)
        return path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run saw."""

    runs: int
    outcomes: int
    finding: Finding | None


def try_one(target: Target, data: bytes, rng: random.Random) -> str | Finding:
    """The outcome's label, or what is wrong."""
    try:
        return target.check(data, rng)
    except AssertionError as broken:
        return Finding(target.name, data, str(broken) or "an assertion without words")


def fuzz(target: Target, seconds: float, seed: int) -> Outcome:
    """Runs until time is up or something broke. The same seed makes the same inputs, for as long as it runs."""
    rng = random.Random(seed)
    mutator = Mutator(rng, target.dictionary)
    corpus = list(target.seeds)
    seen: set[str] = set()
    end = time.monotonic() + seconds
    runs = 0
    pending = list(corpus)
    while time.monotonic() < end or pending:
        # The seeds as they are, then mutations; half of these of recent finds, which are nearest to new ground.
        if pending:
            data = pending.pop()
        else:
            recent = rng.randrange(max(0, len(corpus) - 50), len(corpus)) if rng.random() < 0.5 else None
            base = corpus[recent] if recent is not None else rng.choice(corpus)
            data = mutator.mutate(base, corpus)[:MAX_BYTES]
        runs += 1
        label = try_one(target, data, rng)
        if isinstance(label, Finding):
            return Outcome(runs, len(seen), label)
        if label not in seen:
            seen.add(label)
            if len(corpus) < MAX_CORPUS:
                corpus.append(data)
    return Outcome(runs, len(seen), None)
