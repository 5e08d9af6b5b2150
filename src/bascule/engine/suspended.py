"""Going on with a coroutine that was started outside a task and has really suspended."""

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any


@types.coroutine
def resumed(coro: Coroutine[Any, Any, Any], first: Any) -> Generator[Any, Any, Any]:
    """Awaits, inside a task, what `coro` already yielded (`first`), and then the rest of it; its result."""
    waited = first
    step: Callable[[Any], Any]
    while True:
        try:
            value = yield waited
        except BaseException as error:
            step, argument = coro.throw, error
        else:
            step, argument = coro.send, value
        try:
            waited = step(argument)
        except StopIteration as done:
            return done.value
