"""Nodes that come back take their part step by step: an upstream's `slow_start`. Our own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

from bascule.model.attributes import Model, Number

Percent = Annotated[Number, Field(ge=1, le=100)]


class SlowStart(Model):
    """During `window` seconds a node's weight grows from `min_weight_percent` of it to all of it, in a straight line
    with an `aggression` of 1, sooner with more."""

    window: Annotated[float, Strict(), Field(gt=0, le=86400, allow_inf_nan=False)]
    min_weight_percent: Percent = 10
    aggression: Annotated[float, Strict(), Field(gt=0, le=100, allow_inf_nan=False)] = 1.0

    def factor(self, passed_s: float) -> float:
        """What a node's weight is multiplied by, so many seconds after it came back."""
        if passed_s >= self.window:
            return 1.0
        share = max(0.0, passed_s / self.window) ** (1.0 / self.aggression)
        return max(self.min_weight_percent / 100.0, float(share))
