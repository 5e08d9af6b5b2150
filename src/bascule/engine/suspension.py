"""Nodes that get no requests for a while, then one at a time until it is known that they work again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(slots=True)
class Suspension:
    """`due_s`: when the next probe may go. Since the last probe began, `good` successes came in a row."""

    seconds: float
    due_s: float
    probing: bool = False
    good: int = 0


class Suspensions:
    """By node name. Each further suspension of a node is twice as long as the last, up to `most_s`, until it has worked
    for `most_s` seconds."""

    def __init__(self, base_s: float, most_s: float, successes: int = 1) -> None:
        self.base_s = base_s
        self.most_s = most_s
        self.successes = successes
        self.out: dict[str, Suspension] = {}
        self._past: dict[str, tuple[float, float]] = {}  # (seconds of the last suspension, when it ended)

    def suspend(self, name: str, now_s: float) -> float:
        """Seconds until the first probe."""
        last_s, ended_s = self._past.pop(name, (0.0, 0.0))
        again = last_s > 0 and now_s - ended_s < self.most_s
        seconds = min(self.most_s, 2 * last_s) if again else self.base_s
        self.out[name] = Suspension(seconds, now_s + seconds)
        return seconds

    def failed(self, name: str, now_s: float) -> float:
        """A request to a suspended node failed. Seconds until the next probe if it was the probe, else 0."""
        one = self.out[name]
        if not one.probing:
            return 0.0  # it was under way before
        one.probing = False
        one.good = 0
        one.seconds = min(self.most_s, 2 * one.seconds)
        one.due_s = now_s + one.seconds
        return one.seconds

    def succeeded(self, name: str, now_s: float) -> bool:
        """A request to a suspended node succeeded. True: it is one no more."""
        one = self.out[name]
        if self.successes > 1 and not one.probing:
            return False
        one.probing = False
        one.good += 1
        if one.good < self.successes:
            one.due_s = now_s
            return False
        self.forget(name)
        self._past[name] = (one.seconds, now_s)
        return True

    def due(self, now_s: float) -> list[str]:
        """Names of those that may be probed."""
        return [name for name, one in self.out.items() if one.due_s <= now_s]

    def probe(self, name: str, now_s: float) -> None:
        """A request goes to it. Should nothing be heard of that (its client may give up), another one goes later."""
        one = self.out[name]
        one.probing = True
        one.due_s = now_s + one.seconds

    def half_open(self, name: str) -> bool:
        one = self.out[name]
        return one.probing or one.good > 0

    def next_s(self) -> float:
        """When the first probe is due; infinite: there is nobody to probe."""
        return min((one.due_s for one in self.out.values()), default=float("inf"))

    def forget(self, name: str) -> None:
        del self.out[name]

    def keep(self, names: Collection[str]) -> None:
        """Forgets all others."""
        self.out = {name: one for name, one in self.out.items() if name in names}
        self._past = {name: past for name, past in self._past.items() if name in names}

    def __repr__(self) -> str:
        return f"<suspensions {', '.join(f'{name} {one.seconds:g}s' for name, one in self.out.items()) or 'none'}>"
