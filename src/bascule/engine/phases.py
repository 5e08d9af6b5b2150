# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Running the hooks of a chain, phase by phase, and going on after one that waited for something."""

from types import CoroutineType

import cython
from cython.cimports.bascule.engine.arrival import find_route
from cython.cimports.bascule.engine.coroutine import PyIter_Send
from cython.cimports.bascule.engine.ending import fail, respond
from cython.cimports.bascule.engine.exchange import (
    P_ACCESS,
    P_BROUGHT,
    P_HOLD,
    P_REWRITE,
    P_WHOLE,
    X_DONE,
    X_NEW,
    X_PHASES,
    Exchange,
)
from cython.cimports.bascule.engine.node_choice import connect
from cython.cimports.bascule.engine.plan import Step
from cython.cimports.bascule.engine.tries import send_request
from cython.cimports.bascule.net.poller import now_us
from cython.cimports.bascule.plugin.request import Request
from cython.cimports.bascule.plugin.response import Response
from cython.cimports.cpython.object import PyObject
from cython.cimports.cpython.ref import Py_DECREF

from bascule.engine.held_body import ClientGone
from bascule.engine.pages import page
from bascule.engine.plan import chain_plan, steps_of
from bascule.engine.suspended import resumed

SUSPENDED = object()


@cython.cfunc
def run_phases(x: Exchange) -> cython.int:
    """Runs the present phase from step_index on, and the phases after it."""
    result: object
    while True:
        result = run_steps(x, x.steps, x.step_index)
        if result is SUSPENDED:
            x.state = X_PHASES
            return 0
        if x.down is None or x.state == X_DONE:
            return 0
        if result is not None:
            return respond(x, cython.cast(Response, result), 1)
        if next_phase(x):
            return 0


@cython.cfunc
def next_phase(x: Exchange) -> cython.int:
    """Sets up the next phase; 1: there is none, the request went on its way."""
    rq: Request = x.request
    if x.phase == P_HOLD:
        x.steps = None
        find_route(x)
        return 1
    if x.phase == P_REWRITE and rq.consumer is not None and rq.consumer is not x.merged and x.route is not None:
        x.merged = rq.consumer
        if rq.consumer.plugins is not None:
            chain, brought = x.core.tables.consumer_chain(x.route, rq.consumer)
            x.chain = chain_plan(chain) if x.trace is None else x.trace.plan(chain)
            if brought:
                x.steps = steps_of(brought if x.trace is None else x.trace.hooks("rewrite", brought))
                x.step_index = 0
                x.phase = P_BROUGHT
                return 0
    if x.phase == P_REWRITE or x.phase == P_BROUGHT:
        if x.body_limit and x.req.m.content_length > x.body_limit:
            fail(x, 413, "the request body is announced larger than the limit")
            return 1
        x.phase = P_ACCESS
        x.steps = x.chain.access
        x.step_index = 0
        return 0
    if x.phase == P_ACCESS:
        x.steps = None
        if x.route is None:
            fail(x, 404, "no route matches")
        else:
            connect(x)
        return 1
    x.steps = None
    if x.phase == P_WHOLE:
        connect(x)
    else:
        send_request(x)
    return 1


@cython.cfunc
def run_steps(x: Exchange, steps: list, i: cython.int):
    """None: all went by; a Response; or SUSPENDED."""
    step: Step
    rq: Request = x.request
    result: object
    waits: cython.int
    sent: cython.pointer(PyObject)
    n: cython.int = len(steps)
    while i < n:
        step = cython.cast(Step, steps[i])
        i += 1
        try:
            if step.bare:
                result = step.call(rq)
                if result is None:
                    continue
            else:
                if step.filter is not None and not lets_pass(x, step):
                    continue
                result = step.call(rq)
                if result is None:
                    continue
                if step.needs_task and hasattr(result, "send"):
                    suspended(x, step, i, result, None)
                    return SUSPENDED
            if type(result) is CoroutineType or (type(result) is not Response and hasattr(result, "send")):
                waits = PyIter_Send(result, None, cython.address(sent))
                value = cython.cast(object, sent)
                Py_DECREF(value)  # PyIter_Send gave one reference, `value` is another
                if waits:
                    suspended(x, step, i, result, value)
                    return SUSPENDED
                if value is None:
                    continue
                result = value
            return settle(step, result)
        except Exception as error:
            return hook_failed(x, step.plugin, error)
    return None


@cython.cfunc
def lets_pass(x: Exchange, step: Step) -> cython.bint:
    """_meta.filter of the step's plugin, evaluated once per request."""
    if x.passed is None:
        x.passed = {}
    known = x.passed.get(step.filter)
    if known is None:
        known = bool(step.filter(x.request))
        x.passed[step.filter] = known
    return known


@cython.cfunc
def settle(step: Step, result: object):
    """What a hook returned, as a Response or None."""
    if result is None:
        return None
    if type(result) is not Response:
        raise TypeError(f"a hook returns None or a Response, not {type(result).__name__}")
    if step.error_response is not None and cython.cast(Response, result).status >= 400:
        kept = [(n, v) for n, v in result.headers() if n.lower() not in ("content-type", "content-length")]
        return Response(result.status, step.error_response, kept)
    return result


@cython.cfunc
def hook_failed(x: Exchange, plugin: str, error: object):
    """A plugin's bug must not let the request pass: 500."""
    if getattr(error, "limit", None) is not None and type(error).__name__ == "BodyTooLarge":
        x.failure = str(error)
        return Response(413, page(413), {"Content-Type": "text/html; charset=utf-8"})
    if isinstance(error, ClientGone):
        return None
    x.core.log.error("plugin %s failed on route %s", plugin, getattr(x.route, "id", None), exc_info=error)
    x.failure = f"plugin {plugin} failed: {error!r}"
    return Response(500, {"error_msg": f"plugin {plugin} failed"})


@cython.cfunc
def suspended(x: Exchange, step: Step, i: cython.int, coro: object, first: object) -> cython.int:
    """The hook waits for something: the rest of it, and of the chain, follows in a task."""
    x.step_index = i
    x.state = X_PHASES
    name = f"{step.plugin} {x.request!r}"
    x.task = x.core.loop.create_task(coro if step.needs_task else resumed(coro, first), name=name)
    x.task.add_done_callback(_Resume(x, step))
    return 0


@cython.cfunc
def resume_after(x: Exchange, task: object, step: Step) -> cython.int:
    """The suspended hook has come to its end."""
    if x.task is not task or x.state == X_DONE:
        if not task.cancelled():
            task.exception()
        return 0
    x.task = None
    x.core.poller.now = now_us()
    x.state = X_NEW
    if task.cancelled():
        error = RuntimeError("its task was cancelled")
    else:
        error = task.exception()
    try:
        if error is not None:
            result = hook_failed(x, step.plugin, error)
        else:
            result = settle(step, task.result())
    except Exception as wrong:
        result = hook_failed(x, step.plugin, wrong)
    try:
        if result is not None:
            respond(x, result, 1)
        else:
            run_phases(x)
    except Exception as wrong:
        x.core.poller.failed(x.down, wrong)
    return 0


class _Resume:
    """Done-callback that goes on with an exchange."""

    __slots__ = ("exchange", "step")

    def __init__(self, exchange, step):
        self.exchange = exchange
        self.step = step

    def __call__(self, task):
        resume_after(self.exchange, task, self.step)
