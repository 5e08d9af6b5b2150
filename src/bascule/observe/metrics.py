"""Counters, gauges and histograms: counted in each worker, summed by the supervisor, rendered for Prometheus.

A series is a small object that a plugin keeps: `series.inc()` is an addition. Workers hand on what changed since the
last time (`delta`), the supervisor adds it up (`merge`) and writes text format 0.0.4 (`render`). It is rendered here
and not by prometheus-client because that renames counters to `…_total`: dashboards need APISIX's names as they are.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar, cast

MAX_SERIES = 10_000
DROPPED = "bascule_metrics_dropped_series_total"
DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# One family in a delta: kind, name, help, labels, buckets, [(label values, change)].
FamilyDelta = tuple[str, str, str, tuple[str, ...], tuple[float, ...], list[tuple[tuple[str, ...], Any]]]
Delta = list[FamilyDelta]


class Counter:
    """A series that only grows."""

    __slots__ = ("handed", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.handed: float = 0

    def inc(self, amount: float = 1) -> None:
        self.value += amount

    def take(self) -> Any:
        """What was added since the last take; None: nothing."""
        change = self.value - self.handed
        self.handed = self.value
        return change or None

    def add(self, change: Any, source: str) -> None:
        self.value += change

    def samples(self, name: str, labels: str) -> list[str]:
        return [f"{name}{_braces(labels)} {_number(self.value)}"]


class Gauge:
    """A series that goes up and down. Rendered is the sum over the workers."""

    __slots__ = ("handed", "sources", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.handed: float | None = None
        self.sources: dict[str, float] = {}

    def set(self, value: float) -> None:
        self.value = value

    def inc(self, amount: float = 1) -> None:
        self.value += amount

    def dec(self, amount: float = 1) -> None:
        self.value -= amount

    def take(self) -> Any:
        """The present value if it changed since the last take, else None."""
        if self.value == self.handed:
            return None
        self.handed = self.value
        return self.value

    def add(self, change: Any, source: str) -> None:
        self.sources[source] = change

    def samples(self, name: str, labels: str) -> list[str]:
        return [f"{name}{_braces(labels)} {_number(self.value + sum(self.sources.values()))}"]


class Histogram:
    """How many observations fell under each upper bound."""

    __slots__ = ("bounds", "counts", "handed", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total: float = 0
        self.handed: tuple[list[int], float] = ([0] * (len(bounds) + 1), 0)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def take(self) -> Any:
        """(added per bucket, added to the sum), or None."""
        if self.counts == self.handed[0]:
            return None
        added = [now - before for now, before in zip(self.counts, self.handed[0], strict=True)]
        change = (added, self.total - self.handed[1])
        self.handed = (self.counts[:], self.total)
        return change

    def add(self, change: Any, source: str) -> None:
        self.counts = [have + more for have, more in zip(self.counts, change[0], strict=True)]
        self.total += change[1]

    def samples(self, name: str, labels: str) -> list[str]:
        lines = []
        below = 0
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            below += count
            le = _number(bound)
            pairs = f'{labels},le="{le}"' if labels else f'le="{le}"'
            lines.append(f"{name}_bucket{{{pairs}}} {below}")
        lines.append(f"{name}_sum{_braces(labels)} {_number(self.total)}")
        lines.append(f"{name}_count{_braces(labels)} {below}")
        return lines


Series = TypeVar("Series", bound=Counter | Gauge | Histogram)


class Family(Generic[Series]):
    """All series of one name, one per set of label values, made when first asked for."""

    def __init__(self, name: str, help: str, labels: Sequence[str], kind: str, make: Callable[[], Series]) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self.kind = kind
        self.series: dict[tuple[str, ...], Series] = {}
        self._make = make
        self.gone: list[tuple[str, ...]] = []  # gauges that were handed on, and then removed
        self.max_series = MAX_SERIES
        self.dropped = 0  # times that child() was asked for a series past max_series
        self._overflow = make()

    def child(self, values: tuple[str, ...] = ()) -> Series:
        """The series with these label values (str, in the order of `labels`). Past max_series a shared one that is
        never rendered: clients must not be able to fill the memory through a label."""
        try:
            return self.series[values]
        except KeyError:
            return self._new(values)

    def _new(self, values: tuple[str, ...]) -> Series:
        if len(values) != len(self.labels):
            raise ValueError(f"metric {self.name} has the labels {self.labels}, got {len(values)} values")
        if len(self.series) >= self.max_series:
            self.dropped += 1
            return self._overflow
        series = self.series[values] = self._make()
        return series

    def inc(self, amount: float = 1) -> None:
        """For a counter or gauge without labels."""
        cast(Any, self.child()).inc(amount)

    def observe(self, value: float) -> None:
        """For a histogram without labels."""
        cast(Any, self.child()).observe(value)

    def set(self, value: float) -> None:
        """For a gauge without labels."""
        cast(Any, self.child()).set(value)

    def remove(self, values: tuple[str, ...]) -> None:
        """Forgets the series, e.g. of a node that is gone."""
        series = self.series.pop(values, None)
        if isinstance(series, Gauge) and series.handed is not None:
            self.gone.append(values)

    def withdraw(self, values: tuple[str, ...], source: str) -> None:
        """A worker has removed its gauge."""
        series = self.series.get(values)
        if isinstance(series, Gauge):
            series.sources.pop(source, None)
            if not series.sources:
                del self.series[values]

    def clear(self) -> None:
        self.series.clear()

    @property
    def bounds(self) -> tuple[float, ...]:
        return self._overflow.bounds if isinstance(self._overflow, Histogram) else ()

    def render(self) -> list[str]:
        lines = [f"# HELP {self.name} {_escape_help(self.help)}", f"# TYPE {self.name} {self.kind}"]
        for values, series in self.series.items():
            pairs = (f'{label}="{_escape(value)}"' for label, value in zip(self.labels, values, strict=True))
            lines += series.samples(self.name, ",".join(pairs))
        return lines


class Metrics:
    """The registry of one process. Asking again for a family of the same name gives the same family."""

    def __init__(self) -> None:
        self._families: dict[str, Family[Any]] = {}
        self._dropped = self.counter(DROPPED, "Series refused because their family was full.", ("family",))

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Family[Counter]:
        return self._family(name, help, labels, "counter", Counter)

    def gauge(self, name: str, help: str, labels: Sequence[str] = ()) -> Family[Gauge]:
        return self._family(name, help, labels, "gauge", Gauge)

    def histogram(
        self, name: str, help: str, labels: Sequence[str] = (), buckets: Iterable[float] = DEFAULT_BUCKETS
    ) -> Family[Histogram]:
        bounds = tuple(sorted(bound for bound in buckets if bound != math.inf))
        return self._family(name, help, labels, "histogram", lambda: Histogram(bounds))

    def _family(
        self, name: str, help: str, labels: Sequence[str], kind: str, make: Callable[[], Series]
    ) -> Family[Series]:
        family = self._families.get(name)
        if family is None:
            if _NAME.fullmatch(name) is None or not all(map(_LABEL.fullmatch, labels)):
                raise ValueError(f"not a metric name with labels: {name!r} {tuple(labels)!r}")
            family = self._families[name] = Family(name, help, labels, kind, make)
        elif (family.kind, family.labels) != (kind, tuple(labels)):
            raise ValueError(f"metric {name} is already a {family.kind} with the labels {family.labels}")
        return family

    def delta(self) -> Delta:
        """What changed since the last call: plain data, to be pickled."""
        self._count_dropped()
        changed: Delta = []
        for family in self._families.values():
            rows = [
                (values, change) for values, series in family.series.items() if (change := series.take()) is not None
            ]
            gone, family.gone = family.gone, []
            rows += [(values, None) for values in gone if values not in family.series]
            if rows:
                changed.append((family.kind, family.name, family.help, family.labels, family.bounds, rows))
        return changed

    def merge(self, delta: Delta, source: str = "") -> None:
        """Adds a worker's delta. `source` names the worker: its gauges replace those that it sent before."""
        for kind, name, help, labels, bounds, rows in delta:
            family: Family[Any]
            if kind == "counter":
                family = self.counter(name, help, labels)
            elif kind == "gauge":
                family = self.gauge(name, help, labels)
            else:
                family = self.histogram(name, help, labels, bounds)
            for values, change in rows:
                if change is None:
                    family.withdraw(values, source)
                else:
                    family.child(values).add(change, source)

    def forget(self, source: str) -> None:
        """The worker is gone: its gauges no longer count; what it counted stays."""
        for family in self._families.values():
            for series in family.series.values():
                if isinstance(series, Gauge):
                    series.sources.pop(source, None)

    def _count_dropped(self) -> None:
        for family in list(self._families.values()):
            if family.dropped:
                self._dropped.child((family.name,)).inc(family.dropped)
                family.dropped = 0

    def render(self) -> bytes:
        """Text exposition format 0.0.4."""
        self._count_dropped()
        lines: list[str] = []
        for family in self._families.values():
            if family.series:
                lines += family.render()
        return ("\n".join(lines) + "\n").encode() if lines else b""

    def __repr__(self) -> str:
        return f"<metrics {len(self._families)} families {sum(len(f.series) for f in self._families.values())} series>"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _escape(value: str) -> str:
    text = str(value)
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return text


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _braces(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""
