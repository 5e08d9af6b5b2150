"""What happens to one live request, told in its response: for requests that carry a valid X-Bascule-Debug.

The request's chain is replaced by one whose hooks take notes; other requests know nothing of it. Hooks of body_filter,
log and WebSockets come after the response's head and are left as they are.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bascule.engine.plan import ChainPlan, goes_by_body
from bascule.snapshot.chain import WEBSOCKET_PHASES, Chain, Hook

HEADER = "X-Bascule-Trace"
_PHASES = ("rewrite", "access", "before_proxy", "header_filter")
_MOST_BYTES = 8192


def make_token(key: bytes, valid_s: float, now: Callable[[], float] = time.time) -> str:
    """A token that is good for so many seconds."""
    expiry = str(int(now() + valid_s))
    return f"{expiry}.{_signature(key, expiry)}"


def open_trace(key: bytes, token: str, now: Callable[[], float] = time.time) -> LiveTrace | None:
    """None: the token is wrong or over."""
    expiry, _, signature = token.partition(".")
    if not (expiry.isascii() and expiry.isdigit() and len(expiry) < 20):
        return None
    if not hmac.compare_digest(signature.encode("latin-1", "replace"), _signature(key, expiry).encode()):
        return None
    return LiveTrace() if int(expiry) >= now() else None


def _signature(key: bytes, expiry: str) -> str:
    return hmac.new(key, b"bascule debug token " + expiry.encode(), "sha256").hexdigest()


class LiveTrace:
    """The notes of one request."""

    def __init__(self) -> None:
        self._began = time.perf_counter_ns()
        self._notes: list[dict[str, Any]] = []

    def plan(self, chain: Chain | None) -> ChainPlan:
        """The chain, taking notes, with one more header filter at its end that tells them."""
        hooks = {phase: self.hooks(phase, getattr(chain, phase, ())) for phase in _PHASES}
        hooks["header_filter"] += (Hook(self._tell, "trace"),)
        for phase in ("body_filter", "log", *WEBSOCKET_PHASES):
            hooks[phase] = getattr(chain, phase, ())
        traced = Chain(**hooks, names=("trace",))
        return ChainPlan(traced, chain is not None and goes_by_body(chain))

    def hooks(self, phase: str, hooks: Sequence[Hook]) -> tuple[Hook, ...]:
        return tuple(self._noting(phase, hook) for hook in hooks)

    def _noting(self, phase: str, hook: Hook) -> Hook:
        def call(request: Any, *rest: Any) -> Any:
            # Filters are looked at here, so that it can be told what they kept from running.
            if hook.filter is not None and not hook.filter(request):
                self._note(phase, hook, None, "skipped by _meta.filter")
                return None
            began = time.perf_counter_ns()
            try:
                result = hook.call(request, *rest)
            except Exception as error:
                self._note(phase, hook, began, f"failed: {type(error).__name__}")
                raise
            if isinstance(result, Coroutine):
                return self._awaited(phase, hook, began, result)
            self._note(phase, hook, began, _decision(result))
            return result

        return Hook(call, hook.plugin, hook.needs_task, None, hook.error_response, hook.observes_body)

    async def _awaited(self, phase: str, hook: Hook, began: int, waiting: Coroutine[Any, Any, Any]) -> Any:
        try:
            result = await waiting
        except Exception as error:
            self._note(phase, hook, began, f"failed: {type(error).__name__}")
            raise
        self._note(phase, hook, began, _decision(result))
        return result

    def _note(self, phase: str, hook: Hook, began: int | None, decision: str) -> None:
        note: dict[str, Any] = {"plugin": hook.plugin, "phase": phase, "decision": decision}
        if began is not None:
            note["us"] = round((time.perf_counter_ns() - began) / 1000, 1)
        self._notes.append(note)

    def _tell(self, request: Any, response: Any) -> None:
        told: dict[str, Any] = {
            "route": request.var("route_id"),
            "service": request.var("service_id"),
            "consumer": request.var("consumer_name"),
            "plugins": self._notes,
            "upstream": {
                "addr": request.var("upstream_addr"),
                "status": request.var("upstream_status"),
                "s": request.var("upstream_response_time"),
            },
            "us": round((time.perf_counter_ns() - self._began) / 1000, 1),
        }
        text = json.dumps(told, separators=(",", ":"), default=str)
        kept = len(self._notes)
        while len(text) > _MOST_BYTES and kept:
            kept = kept * 3 // 4
            told |= {"plugins": self._notes[:kept], "more": len(self._notes) - kept}
            text = json.dumps(told, separators=(",", ":"), default=str)
        response.set_header(HEADER, text)


def _decision(result: Any) -> str:
    if result is None:
        return "passed"
    return f"answered {getattr(result, 'status', None) or result}"
