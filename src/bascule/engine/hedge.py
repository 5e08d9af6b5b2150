# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Hedging: while a request waits for its response head, another try of it goes to another node. Who is first wins.

Each further try is a rival: an exchange that owns its upstream's side and nothing else, with nobody on the client's
side. When its head comes first, or the first try fails, the exchange takes over what the rival owns and goes on as if
it had sent that itself; so what follows a response head knows nothing of hedging. Losers are cancelled at once, and
observers hear nothing of them: that a node was slower than another says nothing of its health.
"""

import cython
from cython.cimports.bascule.engine.endpoint import Endpoint, UpstreamPlan
from cython.cimports.bascule.engine.exchange import X_DONE, X_SENT, Exchange
from cython.cimports.bascule.engine.failure import (
    F_CLOSED,
    F_CONNECT,
    F_CONNECT_TIMEOUT,
)
from cython.cimports.bascule.engine.outcome import drop_upstream, heard, note_try, tell, tell_failure
from cython.cimports.bascule.engine.parties import Core, StandIn, Upstream
from cython.cimports.bascule.engine.request_body import REPLAY_LIMIT, push_held
from cython.cimports.bascule.engine.retry import RetryPlan
from cython.cimports.bascule.engine.tries import send_request, status_of, time_try
from cython.cimports.bascule.plugin.request import Request
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.bascule.wire.http1 import Parsed
from cython.cimports.libc.stdlib import malloc
from cython.cimports.libc.string import memcpy

UNANSWERED = "-"  # the status of a try that was cancelled, as the access log has it


@cython.cfunc
@cython.exceptval(check=False)
def may_hedge(x: Exchange) -> cython.bint:
    """Whether a further try may begin while the present one goes on."""
    retry: RetryPlan = x.upstream.retry
    return (
        retry.hedge_ms != 0
        and x.hedges < retry.most_hedges
        and x.left > 0
        and retry.hedges(x.req.m.method)
        and (x.request is None or x.request.method_out is None)  # a plugin's method isn't the one that was looked at
        and not x.websocket
        and x.upstream.sticky is None
    )


@cython.cfunc
def hedge(x: Exchange) -> cython.int:
    """Sends the request to another node as well, if all of it is at hand, there is another node, and the budget has
    something left."""
    core: Core = x.core
    plan: UpstreamPlan = x.upstream
    y: Exchange
    node: cython.int
    if not at_hand(x):
        return 0
    if plan.retry_timeout_us and core.poller.now - x.t_connect >= plan.retry_timeout_us:
        return 0
    node = another_node(x)
    if node < 0:
        return 0
    x.hedges += 1
    if not plan.retry.grant(core.poller.now):
        core.count_hedge("over budget")
        return 0
    x.left -= 1
    y = rival_of(x, node)
    if x.rivals is None:
        x.rivals = []
    x.rivals.append(y)
    return send_request(y)


@cython.cfunc
@cython.exceptval(check=False)
def at_hand(x: Exchange) -> cython.bint:
    """Whether the whole request can be sent again now."""
    rq: Request = x.request
    if not x.has_body or (rq is not None and rq.body_out is not None):
        return True
    if not x.body_done or not x.body_sent or x.replay_lost:
        return False
    return x.held is None or cython.cast(cython.longlong, x.held.size) <= REPLAY_LIMIT


@cython.cfunc
def another_node(x: Exchange) -> cython.int:
    """A node that this request hasn't been sent to, whose address is known; -1: there is none."""
    plan: UpstreamPlan = x.upstream
    used: set = {x.node} if x.tried is None else {x.node, *x.tried}
    node: cython.int
    if x.rivals is not None:
        for y in x.rivals:
            used.add(cython.cast(Exchange, y).node)
    node = plan.pick(x.key, used)
    if node >= 0 and plan.stall_us:
        node = plan.lively(node, x.key, used, x.core.poller.now)
    if node >= 0 and cython.cast(Endpoint, plan.endpoints[node]).count == 0:
        return -1
    return node


@cython.cfunc
def rival_of(x: Exchange, node: cython.int) -> Exchange:
    """An exchange for another try of x's request, which it shares; all of the request is at hand."""
    y: Exchange = Exchange()
    down: Second = Second()
    down.stand_for(x.down)
    down.y = y
    y.core = x.core
    y.down = down
    y.lead = x
    y.req = x.req
    y.request = x.request
    y.head_request = x.head_request
    y.has_body = x.has_body
    y.body_done = True
    y.continued = x.continued
    y.recode = x.recode
    y.held = x.held
    y.request_trailers = x.request_trailers
    if x.replay_len:
        y.replay = cython.cast(cython.p_char, malloc(x.replay_len))
        if y.replay == cython.NULL:
            raise MemoryError
        memcpy(y.replay, x.replay, x.replay_len)
        y.replay_len = x.replay_len
    y.upstream = x.upstream
    y.node = node
    y.endpoint = cython.cast(Endpoint, x.upstream.endpoints[node])
    y.t_start = x.t_start
    y.t_connect = x.t_connect
    y.t_try = x.core.poller.now
    return y


@cython.cfunc
def winner(y: Exchange, m: cython.pointer(Parsed)) -> Exchange:
    """The head of a final response has come for a rival: it becomes the exchange's, unless its status is one that is
    tried again."""
    x: Exchange = y.lead
    if x.upstream.retry.takes_status(m.status):
        if len(x.upstream.observers):
            tell(y, m.status, 0, True)
        if y.awaits:
            heard(y)
        part(y, str(m.status), "failed")
        return None
    note_try(x, UNANSWERED)
    drop_upstream(x)
    take_over(x, y)
    x.resp.m = m[0]
    return x


@cython.cfunc
def give_way(x: Exchange) -> cython.int:
    """The exchange's own try is over, and noted: that of its first rival becomes its own."""
    x.tried = {x.node} if x.tried is None else {x.node, *x.tried}
    take_over(x, cython.cast(Exchange, x.rivals[0]))
    x.state = X_SENT
    time_try(x, x.t_sent)
    return 0


@cython.cfunc
def take_over(x: Exchange, y: Exchange) -> cython.int:
    """x goes on with what its rival has sent."""
    u: Upstream = y.up
    y.up = None
    x.up = u
    u.x = x
    x.node = y.node
    x.endpoint = y.endpoint
    x.addresses_left = 0
    x.awaits = y.awaits
    x.told = False
    x.probing = False
    x.t_try = y.t_try
    x.t_sent = y.t_sent
    x.head_sent = y.head_sent
    x.recode = y.recode
    x.held_offset = y.held_offset
    x.body_sent = y.body_sent
    x.core.count_hedge("won")
    return forget(y)


@cython.cfunc
def rival_failed(y: Exchange, reason: cython.int, detail: str) -> cython.int:
    """A rival's try ended without a response; the exchange goes on waiting for the others."""
    x: Exchange = y.lead
    u: Upstream = y.up
    core: Core = x.core
    if y.state == X_DONE:
        return 0
    if u is not None:
        if reason == F_CONNECT or reason == F_CONNECT_TIMEOUT:
            y.endpoint.mark_down(u.address_index, u.resolution, core.poller.now)
        if u.reused and u.received == u.mark_in and reason == F_CLOSED:  # a pooled connection that had closed
            drop_upstream(y)
            core.count_retry("stale")
            y.no_pool = True
            return send_request(y)
    core.log.warning("upstream %s: %s; the other try goes on", y.address_text(), detail)
    tell_failure(y, reason, u is not None)
    return part(y, str(status_of(reason)), "failed")


@cython.cfunc
def dismiss(x: Exchange) -> cython.int:
    """Cancels the rivals."""
    for y in list(x.rivals):
        part(cython.cast(Exchange, y), UNANSWERED, "lost")
    return 0


@cython.cfunc
def part(y: Exchange, status: str, result: str) -> cython.int:
    """Ends a rival, without its answer."""
    x: Exchange = y.lead
    note_try(y, status)
    if x.tries is None:
        x.tries = y.tries
    else:
        x.tries.extend(y.tries)
    x.tried = {y.node} if x.tried is None else {y.node, *x.tried}
    x.core.count_hedge(result)
    drop_upstream(y)
    return forget(y)


@cython.cfunc
def forget(y: Exchange) -> cython.int:
    """What it shares is let go; who is within one of its methods still may look at the rest."""
    x: Exchange = y.lead
    y.state = X_DONE
    y.request = None
    y.held = None
    cython.cast(Second, y.down).y = None
    x.rivals.remove(y)
    if not x.rivals:
        x.rivals = None
    return 0


@cython.cclass
class Second(StandIn):
    def __repr__(self):
        return f"<second try {self.y!r}>"

    @cython.cfunc
    def on_failure(self) -> cython.int:
        return self.abort()

    @cython.cfunc
    def answer(self, x: Exchange, r: Response) -> cython.int:
        return part(x, str(r.status), "failed")  # the deadline of its call has passed, say

    @cython.cfunc
    def resume(self) -> cython.int:
        """The upstream takes more of the request body."""
        y: Exchange = self.y
        if y is not None and y.held is not None and y.up is not None and not y.body_sent:
            push_held(y)
        return 0

    @cython.cfunc
    def abort(self) -> cython.int:
        return 0 if self.y is None else rival_failed(self.y, F_CLOSED, "internal error")

    def server_address(self) -> str:
        return "" if self.y is None else self.y.lead.server_addr
