"""Interleaved rounds: each contender is measured once a round, in alternating order, and compared within it."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.load import Sample
from bench.peers import Peer


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of the rounds."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(min(values), statistics.median(values), max(values))


def rounds(
    contenders: Sequence[tuple[str, Peer]],
    count: int,
    measure: Callable[[str, Peer], Sample],
    say: Callable[[str], None],
) -> dict[str, list[Sample]]:
    """`count` samples of each contender; neighbours stay neighbours in time, and every other round runs backwards."""
    samples: dict[str, list[Sample]] = {name: [] for name, _ in contenders}
    for number in range(count):
        for name, peer in contenders if number % 2 == 0 else list(reversed(contenders)):
            sample = measure(name, peer)
            samples[name].append(sample)
            say(
                f"  round {number + 1}/{count} {name}: {sample.requests_per_cpu_s:,.0f} req/CPU-s,"
                f" {sample.requests / sample.wall_s:,.0f} req/s, {sample.cpu_s / sample.wall_s:.0%} of a core"
            )
    return samples


def compared(samples: dict[str, list[Sample]], reference: str) -> dict[str, Any]:
    """For each contender its requests per CPU-second and, round by round, its ratio to `reference`."""
    base = [sample.requests_per_cpu_s for sample in samples[reference]]
    result: dict[str, Any] = {}
    for name, taken in samples.items():
        own = [sample.requests_per_cpu_s for sample in taken]
        ratios = [mine / theirs for mine, theirs in zip(own, base, strict=True)]
        result[name] = {
            "requests_per_cpu_s": asdict(Spread.of(own)),
            "ratio": asdict(Spread.of(ratios)),
            "requests_per_s": asdict(Spread.of([sample.requests / sample.wall_s for sample in taken])),
            "rounds": len(taken),
        }
    return result
