# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The upstream's response on its way to the client: header filters, framing, body filters, gathering."""

import cython
from cython.cimports.bascule.engine.ending import fail, finish, respond
from cython.cimports.bascule.engine.exchange import (
    BODY_CHUNKED,
    BODY_NONE,
    BODY_PLAIN,
    BODY_RAW,
    X_ANSWERED,
    X_RESPONSE,
    X_SENT,
    Exchange,
)
from cython.cimports.bascule.engine.failure import F_MALFORMED
from cython.cimports.bascule.engine.hedge import dismiss
from cython.cimports.bascule.engine.outcome import drop_upstream, heard, leave, tell
from cython.cimports.bascule.engine.parties import Downstream, Upstream
from cython.cimports.bascule.engine.phases import hook_failed, lets_pass
from cython.cimports.bascule.engine.plan import Step
from cython.cimports.bascule.engine.request_body import body_sent_or_none
from cython.cimports.bascule.engine.tries import retries_status, upstream_failed
from cython.cimports.bascule.plugin.fields import field_name, field_value
from cython.cimports.bascule.plugin.response import AddHeaders, Response
from cython.cimports.bascule.wire.http1 import Parsed


@cython.cfunc
def on_response_head(x: Exchange, p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
    """A final response head, parsed into x.resp: decides how its body goes on. 0: another answer went out."""
    r: Response
    down: Downstream = x.down
    bodyless: cython.bint
    if x.timer is not None:
        x.core.poller.disarm(x.timer)
    if x.ws_key is not None and 200 <= m.status < 300:
        upstream_failed(x, F_MALFORMED, f"the upstream answered {m.status} to the upgrade")
        return 0
    if x.upstream.retry is not None and x.upstream.retry.takes_status(m.status) and retries_status(x, p, m):
        return 0
    if x.rivals is not None:
        dismiss(x)
    if x.awaits:
        heard(x)
    x.t_head = x.core.poller.now
    x.upstream_status = m.status
    x.status = m.status
    x.source = 2
    if len(x.upstream.observers) or x.probing:
        tell(x, m.status, 0, True)
    bodyless = x.head_request or m.status == 204 or m.status == 304
    x.filtering = False
    if x.chain.needs_response or x.cookie is not None or (x.request is not None and x.request.ahead is not None):
        x.ensure()
        x.resp.copy(p, m.head_len)
        x.resp_kept = True
        r = Response.__new__(Response)
        r.head = x.resp
        r.status = m.status
        r.source = "upstream"
        x.response = r
        x.request.response = r
        if x.cookie is not None:
            r.added = [(b"Set-Cookie", x.cookie)]
        r.take_headers(x.request)
        if not run_header_filters(x):
            return 0
        x.status = r.status
        bodyless = x.head_request or r.status == 204 or r.status == 304
        x.filtering = len(x.chain.body_filter) > 0 and not x.head_request
        if r.hold_limit > 0 and x.filtering and not bodyless:
            # Until it is whole, nothing has gone out: this still counts as waiting for the response.
            x.gathered = []
            x.gathered_size = 0
            x.body_mode = BODY_PLAIN
            return 1
    if bodyless:
        x.body_mode = BODY_NONE
    elif x.filtering:
        if x.response.body_length is not None and changing(x.chain.body_filter) == 1:
            cython.cast(object, x.response).remove_header("Content-Length")
            if x.response.added is None:
                x.response.added = []
            x.response.added.append((b"Content-Length", b"%d" % x.response.body_length))
            x.body_mode = BODY_PLAIN
        elif (
            m.content_length >= 0 and not x.head_sent and (x.response.length_kept or changing(x.chain.body_filter) == 0)
        ):
            x.body_mode = BODY_PLAIN
        else:
            x.body_mode = BODY_CHUNKED if down.takes_chunks else BODY_PLAIN
            cython.cast(object, x.response).remove_header("Content-Length")
            x.response.body_length = None
    elif x.head_sent:  # the client waits for a body, but only its head was asked for: an empty one
        x.body_mode = BODY_CHUNKED if down.takes_chunks else BODY_PLAIN
    elif m.content_length >= 0:
        x.body_mode = BODY_RAW
    elif m.chunked:
        x.body_mode = BODY_RAW if down.takes_chunks else BODY_PLAIN
    else:
        x.body_mode = BODY_CHUNKED if down.takes_chunks else BODY_PLAIN
    x.state = X_RESPONSE
    return 1


@cython.cfunc
def run_header_filters(x: Exchange) -> cython.int:
    step: Step
    for entry in x.chain.header_filter:
        step = cython.cast(Step, entry)
        try:
            if step.filter is not None and not lets_pass(x, step):
                continue
            if type(step.call) is AddHeaders:
                cython.cast(AddHeaders, step.call).add_to(x.response)
            else:
                step.call(x.request, x.response)
        except Exception as error:
            if x.source == 2 and x.state != X_ANSWERED:
                answer = hook_failed(x, step.plugin, error)
                drop_upstream(x)
                x.chain = x.chain.without_filters
                respond(x, answer, 0)
                return 0
            hook_failed(x, step.plugin, error)
    return 1


@cython.cfunc
def on_response_data(x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t, last: cython.bint) -> cython.int:
    """Body bytes of the upstream: in BODY_RAW with their framing, else decoded."""
    if x.gathered is not None:
        gather(x, p, n)
    elif x.filtering:
        filter_body(x, p[:n], last)
    elif n:
        x.down.data(x, p, n)
    return 0


@cython.cfunc
def filter_body(x: Exchange, chunk: bytes, last: cython.bint) -> cython.int:
    step: Step
    came: list = None
    if last and x.source == 2:
        came = []
        if x.trailers is not None:
            came = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in x.trailers]
        x.response.trailers = came.copy()
    for entry in x.chain.body_filter:
        step = cython.cast(Step, entry)
        if step.filter is not None and not lets_pass(x, step):
            continue
        try:
            changed = step.call(x.request, x.response, chunk, bool(last))
        except Exception as error:
            hook_failed(x, step.plugin, error)
            x.failure = f"plugin {step.plugin} failed in body_filter"
            if x.state == X_RESPONSE:  # the head is out: all that is left is to cut the response
                drop_upstream(x)
                x.down.abort()
                return -2
            if x.source == 2:
                return -2
            continue
        if changed is not None:
            chunk = changed
    if came is not None and x.response.trailers != came:
        take_trailers(x, x.response.trailers)
    if x.state == X_RESPONSE and x.body_mode != BODY_NONE and len(chunk):
        x.down.data(x, chunk, len(chunk))
    elif x.state == X_ANSWERED:
        x.response.body = chunk
    return 0


@cython.cfunc
def take_trailers(x: Exchange, changed: list | None) -> cython.int:
    """Plugins have changed them."""
    try:
        x.trailers = [(field_name(name).lower(), field_value(name, value)) for name, value in changed] or None
    except (TypeError, ValueError) as error:
        x.core.log.error("trailers of plugins on route %s can't be sent: %s", x.route.id, error)
    return 0


@cython.cfunc
def gather(x: Exchange, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
    """More of the body of a response that is held back."""
    x.gathered_size += n
    if x.gathered_size > x.response.hold_limit:
        detail = f"the response body is larger than {x.response.hold_limit} bytes"
        x.core.log.error("upstream %s: %s", x.address_text(), detail)
        x.gathered = None
        drop_upstream(x)
        return fail(x, 502, detail)
    if n:
        x.gathered.append(p[:n])
    return 0


@cython.cfunc
def answer_gathered(x: Exchange) -> cython.int:
    """The response is whole: plugins see all of it, then it goes out as an answer does."""
    r: Response = x.response
    u: Upstream = x.up
    body: bytes = b"".join(x.gathered)
    x.gathered = None
    x.up = None
    u.x = None
    leave(x, True)
    if body_sent_or_none(x):
        u.release()
    else:
        u.cancel()
    x.state = X_ANSWERED
    if filter_body(x, body, True) < 0:
        x.state = X_SENT
        x.trailers = None
        x.chain = x.chain.without_filters
        return respond(x, Response(500, {"error_msg": x.failure}), 0)
    cython.cast(object, r).detach()
    x.status = r.status
    return x.down.answer(x, r)


@cython.cfunc
def response_end(x: Exchange) -> cython.int:
    """The upstream's response is complete (and its last bytes went to the client's side)."""
    x.response_done = True
    if x.gathered is not None:
        return answer_gathered(x)
    if x.down.end(x) < 0:
        return 0
    if x.has_body and not x.body_sent and not (x.req.m.expect_continue and not x.continued):
        return 0  # the request body still flows: keep on passing it
    return finish(x)


@cython.cfunc
def last_chunk(trailers: list | None) -> bytes:
    if trailers is None:
        return b"0\r\n\r\n"
    return b"0\r\n" + b"".join([name + b": " + value + b"\r\n" for name, value in trailers]) + b"\r\n"


@cython.cfunc
def changing(steps: list) -> cython.int:
    """How many body filters may change the body."""
    n: cython.int = 0
    for entry in steps:
        if not cython.cast(Step, entry).observes_body:
            n += 1
    return n
