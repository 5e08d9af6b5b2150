# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Chains and routes unpacked for the phase runner: what a request needs, one attribute away."""

import cython

from bascule.plugin.variables import reads_body
from bascule.snapshot.chain import PHASES, Hook

MOST_HELD = 64 << 20  # bytes of a body that conditions go by; 413 above it


async def hold(request):
    await request.body(MOST_HELD)


async def hold_whole(request):
    """Of any size, and nobody looks at it."""
    waiter = request.exchange.hold_body(1 << 62)
    if waiter is not None:
        await waiter


@cython.cclass
class Step:
    def __init__(self, hook):
        self.call = hook.call
        self.plugin = hook.plugin
        self.filter = hook.filter
        self.error_response = hook.error_response
        self.needs_task = hook.needs_task
        self.observes_body = hook.observes_body
        self.payload = ("none", "frame", "message").index(hook.payload)
        self.max_bytes = hook.max_bytes
        self.bare = hook.filter is None and hook.error_response is None and not hook.needs_task


def steps_of(hooks) -> list:
    return [Step(hook) for hook in hooks]


HOLD = steps_of([Hook(hold, "vars")])
WHOLE = steps_of([Hook(hold_whole, "proxy-control")])


def goes_by_body(chain) -> bool:
    """Whether a plugin's `_meta.filter` asks for something of the request body."""
    return any(
        hook.filter is not None and any(map(reads_body, hook.filter.variables))
        for phase in PHASES
        for hook in getattr(chain, phase)
    )


@cython.cclass
class ChainPlan:
    def __init__(self, chain, holds=False):
        """`holds`: as if a filter of it went by the body."""
        self.chain = chain
        self.rewrite = steps_of(chain.rewrite)
        self.access = steps_of(chain.access)
        self.before_proxy = steps_of(chain.before_proxy)
        self.header_filter = steps_of(chain.header_filter)
        self.body_filter = steps_of(chain.body_filter)
        self.log = steps_of(chain.log)
        self.ws_handshake = steps_of(chain.ws_handshake)
        self.ws_client = steps_of(chain.ws_client_frame)
        self.ws_upstream = steps_of(chain.ws_upstream_frame)
        self.inspects = bool(self.ws_handshake or self.ws_client or self.ws_upstream)
        if holds or goes_by_body(chain):
            # Before any filter is looked at; again before access, since a consumer may have brought such a plugin.
            self.rewrite = HOLD + self.rewrite
            self.access = HOLD + self.access
        self.needs_response = bool(self.header_filter or self.body_filter or self.log)
        self.has_any = self.needs_response or bool(self.rewrite or self.access or self.before_proxy)

    @property
    def without_filters(self):
        """The same with nothing but its log phase: for the answer when a filter of it has failed."""
        if self.bare is None:
            self.bare = ChainPlan.__new__(ChainPlan)
            self.bare.chain = self.chain
            self.bare.rewrite = self.bare.access = self.bare.before_proxy = []
            self.bare.header_filter = self.bare.body_filter = []
            self.bare.ws_handshake = self.bare.ws_client = self.bare.ws_upstream = []
            self.bare.log = self.log
            self.bare.has_any = self.bare.needs_response = True
        return self.bare


def chain_plan(chain) -> ChainPlan:
    """The plan of a Chain, made once and kept on it."""
    plan = chain.plan
    if plan is None:
        plan = ChainPlan(chain)
        chain.plan = plan
    return plan


@cython.cclass
class RoutePlan:
    @cython.cfunc
    def take_limits(self, limits: object) -> cython.int:
        """A model/websocket.py's WebsocketConf, or None."""
        if limits is not None:
            self.ws_idle_ms = int((limits.idle_timeout or 0) * 1000)
            self.ws_lifetime_ms = int((limits.max_lifetime or 0) * 1000)
            self.ws_ping_ms = int((limits.ping_interval or 0) * 1000)
        return 0
