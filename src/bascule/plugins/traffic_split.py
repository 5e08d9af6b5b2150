"""traffic-split: sends requests to other upstreams than the route's, in shares, where conditions hold."""

from collections.abc import Callable
from typing import Any

from pydantic import Field, field_validator

from bascule.errors.sentences import Refused
from bascule.match.expression import Expression, ExpressionError, compile_expression
from bascule.model.attributes import Id
from bascule.plugin.host import Host
from bascule.plugin.inline_upstream import InlineUpstream, named_or_inline
from bascule.plugin.kit.turns import make_shared_turns
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response
from bascule.plugin.upstream import UpstreamHandle


class Match(Config):
    vars: list[Any] | None = None

    @field_validator("vars")
    @classmethod
    def is_an_expression(cls, value: list[Any] | None) -> list[Any] | None:
        try:
            compile_expression(value or [])
        except ExpressionError as error:
            sentence = f"failed to validate the 'vars' expression: {error}"
            raise Refused(sentence, f"failed to validate the 'vars' expression: {error.text}", True) from error
        return value


class WeightedUpstream(Config):
    upstream: InlineUpstream | None = None
    upstream_id: Id | None = None
    weight: int = Field(1, ge=0)


class Rule(Config):
    match: tuple[Match, ...] = ()
    weighted_upstreams: tuple[WeightedUpstream, ...] = Field((WeightedUpstream(),), min_length=1, max_length=20)


class TrafficSplitConfig(Config):
    rules: tuple[Rule, ...] = ()


class Split:
    """One rule: whom it is for, and whose turn it is."""

    def __init__(self, rule: Rule, number: int, host: Host) -> None:
        conditions = [compile_expression(match.vars or []) for match in rule.match]
        self.conditions: tuple[Expression, ...] = tuple(conditions)
        # None: the route's own upstream.
        self.upstreams: tuple[UpstreamHandle | None, ...] = tuple(
            named_or_inline(one, ("rules", number, "weighted_upstreams", position), host)
            for position, one in enumerate(rule.weighted_upstreams)
        )
        weights = [one.weight for one in rule.weighted_upstreams]
        key = f"traffic-split/{host.holder}/{number}/{'/'.join(map(str, weights))}"
        self.turn: Callable[[], int] = make_shared_turns(weights, host.counters, key)

    def is_for(self, request: Request) -> bool:
        return not self.conditions or any(condition(request) for condition in self.conditions)

    def next(self) -> UpstreamHandle | None:
        turn = self.turn()
        return None if turn < 0 else self.upstreams[turn]


class TrafficSplit(Plugin):
    name = "traffic-split"
    priority = 966
    Config = TrafficSplitConfig
    encrypt_fields = ("rules.weighted_upstreams.upstream.tls.client_key",)
    conf: TrafficSplitConfig

    def __init__(self, conf: TrafficSplitConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.splits = tuple(Split(rule, number, host) for number, rule in enumerate(conf.rules))

    def hooks(self) -> tuple[str, ...]:
        return ("access",) if self.splits else ()

    def access(self, request: Request) -> Response | None:
        """The first rule that is for the request decides."""
        for split in self.splits:
            if split.is_for(request):
                handle = split.next()
                if handle is not None:
                    request.use_upstream(handle)
                return None
        return None
