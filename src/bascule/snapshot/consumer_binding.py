"""A consumer as found by one of its keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class ConsumerBinding:
    """`conf` is the auth plugin's ConsumerConfig instance; None when the consumer was found by name."""

    consumer_name: str
    conf: Any = None
    credential_id: str | None = None
    group_id: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    custom_id: str | None = None
    plugins: Any = field(default=None, repr=False)  # ConsumerPlugins: what the consumer and its group bring, or None
    told: Any = field(default=None, repr=False)  # Request.attach_consumer's cache: what the upstream is told
