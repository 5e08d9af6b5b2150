"""Each fuzz target for a moment, and proof that the fuzzer finds faults: the reference with one rule weakened."""

import re
from typing import Any

import pytest

from fuzz import reference
from fuzz.fuzzer import fuzz
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found(name: str) -> None:
    outcome = fuzz(TARGETS[name], seconds=2, seed=20_240_131)
    assert outcome.finding is None
    assert outcome.outcomes > 20


PLANTED: dict[str, tuple[str, str, Any]] = {
    "a control byte in a value": ("request", "TEXT", rb"[\t\x20-\xff]"),
    "a blank before the colon": ("request", "FIELD_LINE", re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)),
    "a cookie stripped": ("request", "END_TO_END", reference.END_TO_END - {b"cookie"}),
    "a hop-by-hop field passed on": ("response", "HOP_BY_HOP", reference.HOP_BY_HOP - {b"keep-alive"}),
    "blanks in a size line": ("chunk", "SIZE_LINE", re.compile(rb"([0-9A-Fa-f]{1,15})([^\r\n]*)\r\n")),
    "a header that is longer than it may be": ("proxy", "PROXY_MAX", 65551),
    "a control frame of 126 bytes": ("websocket", "CONTROL_MAX", 126),
    "a close code of nobody's": ("websocket", "FRAME_CODES", reference.FRAME_CODES | {1005}),
    "a trailer that must not come": ("chunk", "NOT_IN_TRAILERS", reference.NOT_IN_TRAILERS - {b"te"}),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_planted_faults_are_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, name, weaker = PLANTED[fault]
    monkeypatch.setattr(reference, name, weaker)
    assert fuzz(TARGETS[target], seconds=10, seed=1).finding is not None
