"""What the Admin API answers, without HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bascule.errors.fault import Fault


@dataclass(frozen=True, slots=True)
class Answer:
    """`body`: JSON, None for an empty one. `revision`: of the store, of a write that the workers are to serve. `etag`:
    the revision that changed the resource last. `faults`: what was wrong, when that is why."""

    status: int
    body: Any = None
    revision: int | None = None
    etag: int | None = None
    faults: tuple[Fault, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """The request can't be done; carries the answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer


def refuse(status: int, error_msg: str) -> Refusal:
    return Refusal(Answer(status, {"error_msg": error_msg}))


def refuse_faults(faults: Iterable[Fault]) -> Refusal:
    """APISIX's answer tells one error; where there are more, ours lists them all beside it."""
    found = tuple(faults)
    body: dict[str, Any] = {"error_msg": found[0].error_msg}
    if len(found) > 1:
        body["errors"] = [{"path": fault.path, "message": fault.sentence} for fault in found]
    return Refusal(Answer(400, body, faults=found))


NOT_FOUND = Answer(404, {"message": "Key not found"})
