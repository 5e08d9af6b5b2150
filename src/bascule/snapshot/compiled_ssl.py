"""A certificate as it is served, or shown to upstreams."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class CompiledSsl:
    """`pairs`: (certificate chain, key) as PEM text; `names`: lower-case, of a server's. `skip`: paths that need no
    client certificate. `runtime` is the engine's own."""

    id: str
    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    protocols: tuple[str, ...] = ()
    ciphers: str | None = None
    ciphersuites: str | None = None
    client_ca: str | None = None
    depth: int = 1
    skip: tuple[re.Pattern[str], ...] = ()
    staples: bool = False
    updated: int = 0
    enabled: bool = True
    runtime: Any = field(default=None, compare=False, repr=False)
