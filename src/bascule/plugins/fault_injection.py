"""fault-injection: delays and aborts requests on purpose, all or a sample, to see how clients bear it."""

from collections.abc import Awaitable
from typing import Any, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from bascule.errors.sentences import Refused
from bascule.match.expression import Expression, ExpressionError, compile_expression
from bascule.plugin.host import Host
from bascule.plugin.kit.header_edits import HeaderEdits, HeaderName, check_headers
from bascule.plugin.kit.template import Template
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response


class When(Config):
    percentage: int | None = Field(None, ge=0, le=100)
    vars: list[list[Any]] | None = Field(None, max_length=20)

    @field_validator("vars")
    @classmethod
    def expressions(cls, groups: list[list[Any]] | None) -> list[list[Any]] | None:
        for index, group in enumerate(groups or ()):
            try:
                compile_expression(group)
            except ExpressionError as error:
                sentence = f"failed to create vars expression [{index}]: {error}"
                raise Refused(sentence, error.text, True) from error
        return groups


class Delay(When):
    duration: float = Field(ge=0)


class Abort(When):
    http_status: int = Field(ge=200, le=599)
    body: str | None = None
    headers: dict[HeaderName, str | int | float] | None = Field(None, min_length=1)

    @field_validator("headers")
    @classmethod
    def can_be_sent(cls, headers: dict[str, Any] | None) -> dict[str, Any] | None:
        check_headers((name, str(value)) for name, value in (headers or {}).items())
        return headers


class FaultInjectionConfig(Config):
    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    abort: Abort | None = None
    delay: Delay | None = None

    @model_validator(mode="after")
    def something(self) -> Self:
        if self.abort is None and self.delay is None:
            text = "expect object to have at least 1 properties"
            raise Refused(f"{text}: abort or delay", text)
        return self


class Condition:
    """Whether this request is in the sample and one of the groups of expressions holds."""

    def __init__(self, when: When, host: Host) -> None:
        self.percentage = when.percentage
        self.random = host.random.random
        self.groups: tuple[Expression, ...] = tuple(compile_expression(group) for group in when.vars or ())

    def __call__(self, request: Request) -> bool:
        if self.percentage is not None and self.random() * 100 >= self.percentage:
            return False
        return not self.groups or any(group(request) for group in self.groups)


class FaultInjection(Plugin):
    name = "fault-injection"
    priority = 11000
    Config = FaultInjectionConfig
    conf: FaultInjectionConfig

    def __init__(self, conf: FaultInjectionConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.delay_when = Condition(conf.delay, host) if conf.delay else None
        self.abort_when = Condition(conf.abort, host) if conf.abort else None
        abort = conf.abort
        self.body = Template(abort.body) if abort and abort.body else None
        headers = abort.headers if abort and abort.headers else {}
        self.headers = HeaderEdits(set=[(name, [str(value)]) for name, value in headers.items()])

    def rewrite(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """A coroutine only for the requests that are delayed."""
        if self.delay_when is not None and self.delay_when(request):
            return self.delayed(request)
        return self.aborted(request)

    async def delayed(self, request: Request) -> Response | None:
        assert self.conf.delay is not None
        await self.host.sleep(self.conf.delay.duration)
        return self.aborted(request)

    def aborted(self, request: Request) -> Response | None:
        if self.abort_when is None or not self.abort_when(request):
            return None
        assert self.conf.abort is not None
        response = Response(self.conf.abort.http_status, self.body.render(request) if self.body else b"")
        self.headers.apply(response, request)
        return response
