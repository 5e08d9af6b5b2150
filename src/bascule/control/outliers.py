"""Nodes that workers leave out by themselves: ejected, and why, or with a breaker that isn't closed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bascule.engine.node_guards import EJECTED, OUT
from bascule.observe.metrics import Metrics

STATES = ("open", "half_open")
TOLD = 100  # in the status


def outliers(metrics: Metrics) -> list[dict[str, Any]]:
    """From the workers' metrics. `workers`: in how many of them it is so."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    for (upstream, node, reason), gauge in metrics.gauge(*EJECTED).series.items():
        found[upstream, node, "ejected", reason] += int(sum(gauge.sources.values()))
    for (upstream, node, state), gauge in metrics.gauge(*OUT).series.items():
        if state in STATES:
            found[upstream, node, state, "breaker"] += int(sum(gauge.sources.values()))
    names = ("upstream", "node", "state", "reason")
    return [dict(zip(names, key, strict=True)) | {"workers": workers} for key, workers in found.items() if workers > 0]
