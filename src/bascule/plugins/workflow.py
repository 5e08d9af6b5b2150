"""workflow: the first rule whose case holds decides: an answer, or a limit of its own."""

from collections.abc import Awaitable
from typing import Any

from pydantic import Field, ValidationError, field_validator

from bascule.errors import sentences
from bascule.errors.sentences import Refused, nearest
from bascule.match.expression import Expression, ExpressionError, compile_expression
from bascule.plugin.host import Host
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response

LIMITS = ("limit-count", "limit-conn")  # plugins that may be an action


class Return(Config):
    """The action `return`."""

    code: int = Field(ge=100, le=599)


class Rule(Config):
    case: list[Any] | None = Field(None, min_length=1)
    actions: tuple[list[Any], ...]

    @field_validator("case")
    @classmethod
    def is_an_expression(cls, case: list[Any] | None) -> list[Any] | None:
        try:
            compile_expression(case or [])
        except ExpressionError as error:
            sentence = f"failed to validate the 'case' expression: {error}"
            raise Refused(sentence, f"failed to validate the 'case' expression: {error.text}", True) from error
        return case

    @field_validator("actions")
    @classmethod
    def are_known(cls, actions: tuple[list[Any], ...]) -> tuple[list[Any], ...]:
        for action in actions:
            if not action:
                raise Refused(
                    "an action is a list: its name, and its configuration", "expect array to have at least 1 items"
                )
            _check(action)
        return actions


class WorkflowConfig(Config):
    rules: tuple[Rule, ...]


class Branch:
    """One rule. `code`: what it answers; `limit`: the plugin that decides; neither: the request goes on."""

    def __init__(self, rule: Rule, number: int, host: Host) -> None:
        self.condition: Expression | None = None if rule.case is None else compile_expression(rule.case)
        self.code: int | None = None
        self.limit: Plugin | None = None
        self.hooks: tuple[str, ...] = ()
        for position, action in enumerate(rule.actions):
            name, conf = action[0], _conf(action)
            plugin = None if name == "return" else host.plugin(name, conf, ("rules", number, "actions", position, 1))
            if position == 0:  # as in APISIX, further actions are checked, and not run
                self.code = conf["code"] if plugin is None else None
                self.limit = plugin
                self.hooks = () if plugin is None else plugin.hooks()


class Workflow(Plugin):
    name = "workflow"
    priority = 1006
    Config = WorkflowConfig
    conf: WorkflowConfig

    def __init__(self, conf: WorkflowConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.branches = tuple(Branch(rule, number, host) for number, rule in enumerate(conf.rules))
        self.needs_task = any(branch.limit.needs_task for branch in self.branches if branch.limit)  # type: ignore[misc]
        self._slot = f"workflow {host.holder}"

    def hooks(self) -> tuple[str, ...]:
        """A limit may have something to say later."""
        later = {phase for branch in self.branches for phase in branch.hooks}
        return ("access", *(phase for phase in ("header_filter", "log") if phase in later))

    def access(self, request: Request) -> Response | Awaitable[Response | None] | None:
        for branch in self.branches:
            if branch.condition is None or branch.condition(request):
                if branch.code is not None:
                    return Response(branch.code, {"error_msg": "rejected by workflow"})
                if branch.limit is None:
                    return None
                request.ctx[self._slot] = branch
                return branch.limit.access(request)
        return None

    def header_filter(self, request: Request, response: Response) -> None:
        branch = request.ctx.get(self._slot)
        if branch is not None and "header_filter" in branch.hooks:
            branch.limit.header_filter(request, response)

    def log(self, request: Request) -> None:
        branch = request.ctx.get(self._slot)
        if branch is not None and "log" in branch.hooks:
            branch.limit.log(request)


def _conf(action: list[Any]) -> Any:
    """Lua has one empty table: what wrote [] may have meant {}."""
    return {} if len(action) < 2 or action[1] == [] else action[1]


def _check(action: list[Any]) -> None:
    """Raises Refused. The conf of a limit is checked by its plugin, when the plugin is made."""
    name, conf = action[0], _conf(action)
    if name in LIMITS:
        if not isinstance(conf, dict):
            raise Refused(f'the configuration of the action "{name}" must be an object')
        return
    if name != "return":
        known = ("return", *LIMITS)
        hint = nearest(name, known) if isinstance(name, str) else ""
        raise Refused(
            f"there is no action {name!r}; there are {', '.join(known)}{hint}", f"unsupported action: {name}", True
        )
    try:
        Return.model_validate(conf)
    except ValidationError as error:
        fault = sentences.faults(error, conf, Return)[0]
        place = fault.path.removeprefix("$").removeprefix(".")
        sentence = f"failed to validate the 'return' action: {place} {fault.sentence}"
        raise Refused(sentence, f"failed to validate the 'return' action: {fault.text}", True) from error
