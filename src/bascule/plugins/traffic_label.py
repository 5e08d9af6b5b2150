"""traffic-label: labels requests by headers, by rules, and within a rule by weights."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from bascule.errors.sentences import Refused
from bascule.match.expression import ExpressionError, compile_expression
from bascule.plugin.host import Host
from bascule.plugin.kit.header_edits import HeaderName, check_headers
from bascule.plugin.kit.turns import make_shared_turns
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request


class Action(Config):
    set_headers: dict[HeaderName, str | int | float] | None = Field(None, min_length=1)
    weight: int = Field(1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def known(cls, given: Any) -> Any:
        for key in given if isinstance(given, dict) else ():
            if key not in cls.model_fields:
                text = f"not supported action: {key}"
                raise Refused(text, text, True)
        return given

    @field_validator("set_headers")
    @classmethod
    def can_be_sent(cls, headers: dict[str, Any] | None) -> dict[str, Any] | None:
        check_headers((name, _text(value)) for name, value in (headers or {}).items())
        return headers


class Rule(Config):
    match: list[list[Any] | str] | None = Field(None, min_length=1)
    actions: list[Action] = Field(min_length=1)

    @field_validator("match")
    @classmethod
    def expression(cls, match: list[Any] | None) -> list[Any] | None:
        if match is not None:
            try:
                compile_expression(match)
            except ExpressionError as error:
                raise Refused(f"{error.path}: {error.message}", error.text, True) from error
        return match


class TrafficLabelConfig(Config):
    rules: list[Rule] = Field(min_length=1)


class _Rule:
    """A rule ready for use. The shares of its actions are exact over each round of their weights, and all workers."""

    def __init__(self, rule: Rule, number: int, host: Host) -> None:
        self.matches = None if rule.match is None else compile_expression(rule.match)
        self.actions = [
            [(name, _text(value)) for name, value in (action.set_headers or {}).items()] for action in rule.actions
        ]
        weights = [action.weight for action in rule.actions]
        key = f"traffic-label/{host.holder}/{number}/{'/'.join(map(str, weights))}"
        self.turn = make_shared_turns(weights, host.counters, key)

    def apply(self, request: Request) -> None:
        for name, value in self.actions[self.turn()]:
            request.set_header(name, value)


class TrafficLabel(Plugin):
    name = "traffic-label"
    priority = 967
    Config = TrafficLabelConfig
    conf: TrafficLabelConfig

    def __init__(self, conf: TrafficLabelConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.rules = [_Rule(rule, number, host) for number, rule in enumerate(conf.rules)]

    def access(self, request: Request) -> None:
        """The first rule that matches decides."""
        for rule in self.rules:
            if rule.matches is None or rule.matches(request):
                rule.apply(request)
                return


def _text(value: str | int | float) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
