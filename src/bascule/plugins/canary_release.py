"""canary-release: a new version gets its share in steps, as long as it does as well as the stable one; else it is
rolled back. Testers may be pinned to a version, and a user stays with the one that it had."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Annotated, Any, Self

import orjson
from pydantic import Field, field_validator, model_validator

from bascule.errors.sentences import Refused
from bascule.model.attributes import Id
from bascule.plugin.fields import check_field
from bascule.plugin.host import Cancellable, Host
from bascule.plugin.inline_upstream import InlineUpstream, named_or_inline
from bascule.plugin.kit.progressive_release import Plan, ProgressiveRelease, Step
from bascule.plugin.kit.version_stats import Bounds
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response

CHECK_S = 0.5
POSITIONS = 10_000  # a user's place among all: who is below the share gets the canary
GOLDEN = 6180  # of POSITIONS: places given out in such steps are spread evenly, however many there are
STATES = ("running", "waiting", "complete", "rolled_back")
VERDICTS = ("none", "good", "errors", "latency")
TURNS_S = 86_400.0
VERSIONS = ("stable", "canary")

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Values = Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]


class StepConfig(Config):
    weight: float = Field(ge=0, le=100)
    duration: Seconds | None = None


class BoundsConfig(Config):
    max_error_rate_difference: float = Field(0.05, ge=0, le=1)
    max_latency_ratio: float | None = Field(None, gt=1, allow_inf_nan=False)
    latency_quantile: float = Field(0.95, gt=0, lt=1)
    latency_floor: float = Field(0.01, ge=0, allow_inf_nan=False)
    min_requests: int = Field(100, ge=1, le=1_000_000)
    window: float = Field(30, ge=1, le=86_400)
    error_statuses: tuple[Annotated[int, Field(ge=400, le=599)], ...] | None = Field(None, min_length=1)


class Pin(Config):
    header: Name | None = None
    cookie: Name | None = None
    canary: Values = ("canary",)
    stable: Values = ("stable",)

    @model_validator(mode="after")
    def header_or_cookie(self) -> Self:
        if (self.header is None) == (self.cookie is None):
            raise Refused('needs one of "header" and "cookie"')
        return self


class Sticky(Config):
    cookie: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-.]+$", max_length=128)] | None = None
    max_age: int | None = Field(None, ge=1)
    key: Name | None = None

    @model_validator(mode="after")
    def cookie_or_key(self) -> Self:
        if (self.cookie is None) == (self.key is None):
            raise Refused('needs one of "cookie" and "key"')
        if self.max_age is not None and self.cookie is None:
            raise Refused('"max_age" is the cookie\'s: it needs "cookie"')
        return self


class CanaryReleaseConfig(Config):
    upstream: InlineUpstream | None = None
    upstream_id: Id | None = None
    steps: tuple[StepConfig, ...] = Field(min_length=1, max_length=100)
    bounds: BoundsConfig | None = BoundsConfig()
    retry_after: Seconds | None = None
    release: str | None = Field(None, max_length=256)
    pin: tuple[Pin, ...] = Field((), max_length=20)
    sticky: Sticky | None = None

    @field_validator("pin")
    @classmethod
    def names_are_headers(cls, pins: tuple[Pin, ...]) -> tuple[Pin, ...]:
        for pin in pins:
            if pin.header is not None:
                check_field(pin.header)
        return pins

    @model_validator(mode="after")
    def fits(self) -> Self:
        if (self.upstream is None) == (self.upstream_id is None):
            raise Refused('needs one of "upstream" and "upstream_id": where the canary is')
        for number, step in enumerate(self.steps[:-1]):
            if step.duration is None:
                raise Refused(f'steps[{number}] needs a "duration": only the last step may stay for ever')
        return self


class CanaryRelease(Plugin):
    name = "canary-release"
    priority = 965
    Config = CanaryReleaseConfig
    encrypt_fields = ("upstream.tls.client_key",)
    conf: CanaryReleaseConfig

    def __init__(self, conf: CanaryReleaseConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.canary = named_or_inline(conf, (), host)
        prefix = f"canary-release/{host.holder}/{_version(conf)}/"
        self.release = ProgressiveRelease(prefix, _plan(conf), host.counters, host.now)
        statuses = conf.bounds.error_statuses if conf.bounds else None
        self._is_error: Callable[[int], bool] = (499).__lt__ if statuses is None else frozenset(statuses).__contains__
        self._slot = f"canary-release {host.holder}"
        self._new_place = f"{self._slot} place"
        self._turns = f"{prefix}turns"
        self._place = host.random.randrange(POSITIONS)
        self._shows = host.settings.get("worker_id", 0) == 0  # a gauge is summed over the workers: one tells it
        self._shown = False
        self._requests = host.metrics.counter(
            "bascule_canary_requests", "Requests by version, and how they went", ("holder", "version", "outcome")
        )
        self._timer: Cancellable = host.call_later(0, self._check)

    def hooks(self) -> tuple[str, ...]:
        cookie = self.conf.sticky is not None and self.conf.sticky.cookie is not None
        return ("access", "header_filter", "log") if cookie else ("access", "log")

    def present_state(self) -> dict[str, Any] | None:
        release = self.release
        if not release.begun:
            return None
        return {
            "state": release.state,
            "weight": release.weight,
            "step": min(release.step + 1, len(self.conf.steps)),
            "steps": len(self.conf.steps),
            "verdict": release.verdict,
            "attempt": release.attempt + 1,
        }

    def close(self) -> None:
        self._timer.cancel()
        if self._shows and self._shown:
            self._show(0, 0, "", "")

    # --- the hooks

    def access(self, request: Request) -> Response | None:
        share = self.release.follow()
        pinned = self._pinned(request)
        canary = self._chosen(request, share) if pinned is None else pinned
        if canary:
            request.use_upstream(self.canary)
        request.set_var("release_version", VERSIONS[canary])
        request.ctx[self._slot] = (canary, pinned is not None)
        return None

    def header_filter(self, request: Request, response: Response) -> None:
        place = request.ctx.get(self._new_place)
        if place is not None and self.conf.sticky is not None:
            age = "" if self.conf.sticky.max_age is None else f"; Max-Age={self.conf.sticky.max_age}"
            secure = "; Secure" if request.scheme == "https" else ""
            attributes = f"Path=/{age}; HttpOnly; SameSite=Lax{secure}"
            response.add_header("Set-Cookie", f"{self.conf.sticky.cookie}={place}; {attributes}")

    def log(self, request: Request) -> None:
        """Counts what went upstream, or failed to. Other plugins' answers and clients that left say nothing."""
        found = request.ctx.get(self._slot)
        if found is None:
            return
        canary, pinned = found
        status, source, _, _, _, _, upstream_us, _, _ = request.exchange.record()
        if source == "plugin" or status in (0, 499):
            return
        failed = self._is_error(status)
        self._requests.child((self.host.holder, VERSIONS[canary], "error" if failed else "ok")).inc()
        if not pinned:
            seconds = None if upstream_us is None or status == 101 or source != "upstream" else upstream_us / 1e6
            self.release.count(canary, failed, seconds)

    # --- the choice

    def _pinned(self, request: Request) -> bool | None:
        """Whether a pin forces the canary; None: no pin."""
        for pin in self.conf.pin:
            value = request.header(pin.header) if pin.header is not None else request.cookie(str(pin.cookie))
            if value is not None:
                if value in pin.canary:
                    return True
                if value in pin.stable:
                    return False
        return None

    def _chosen(self, request: Request, share: float) -> bool:
        sticky = self.conf.sticky
        if sticky is not None:
            place = self._place_by_cookie(request) if sticky.key is None else self._place_by_key(request, sticky.key)
            if place is not None:
                return place * 100 < share * POSITIONS
        # Turns that all workers take together, from one counter: of any 100 in a row, as many as the share says.
        turn, _ = self.host.counters.incr(self._turns, 1, TURNS_S)
        return turn * share // 100 > (turn - 1) * share // 100

    def _place_by_key(self, request: Request, key: str) -> int | None:
        """None: the request has no such key."""
        value = request.var(key)
        if value is None or value == "":
            return None
        return int.from_bytes(blake2b(str(value).encode(), digest_size=8).digest()) % POSITIONS

    def _place_by_cookie(self, request: Request) -> int:
        """As the cookie says; a new user gets one."""
        text = request.cookie(self.conf.sticky.cookie or "") if self.conf.sticky is not None else None
        if text is not None and len(text) <= 4 and text.isascii() and text.isdigit():
            return int(text)
        self._place = (self._place + GOLDEN) % POSITIONS
        request.ctx[self._new_place] = self._place
        return self._place

    # --- the progress

    def _check(self) -> None:
        self._timer = self.host.call_later(CHECK_S, self._check)
        for event in self.release.check():
            say = self.host.log.error if event.bad else self.host.log.warning
            say("%s: release %s%s", self.host.holder, _quoted(self.conf.release), event.sentence)
        if self._shows:
            self._shown = True
            release = self.release
            self._show(release.weight, min(release.step + 1, len(self.conf.steps)), release.state, release.verdict)

    def _show(self, weight: float, step: int, state: str, verdict: str) -> None:
        gauge, holder = self.host.metrics.gauge, self.host.holder
        gauge("bascule_canary_weight", "Percent of the requests that go to the canary", ("holder",)).child(
            (holder,)
        ).set(weight)
        gauge("bascule_canary_step", "Number of the release's step", ("holder",)).child((holder,)).set(step)
        states = gauge("bascule_canary_state", "1: the release is in this state", ("holder", "state"))
        verdicts = gauge("bascule_canary_verdict", "1: what the last comparison gave", ("holder", "verdict"))
        for family, names, now in ((states, STATES, state), (verdicts, VERDICTS, verdict)):
            for name in names:
                family.child((holder, name)).set(float(name == now))


def _plan(conf: CanaryReleaseConfig) -> Plan:
    steps = [Step(step.weight, step.duration) for step in conf.steps]
    said = conf.bounds
    if said is None:
        return Plan(steps, None, 1.0)
    bounds = Bounds(
        said.max_error_rate_difference,
        said.max_latency_ratio,
        said.latency_quantile,
        said.latency_floor,
        said.min_requests,
    )
    return Plan(steps, bounds, said.window, conf.retry_after)


def _version(conf: CanaryReleaseConfig) -> str:
    """A digest of all that makes it another release; who is pinned, or how users stick, does not."""
    dumped = orjson.dumps(conf.model_dump(mode="json", exclude={"pin", "sticky"}), option=orjson.OPT_SORT_KEYS)
    return blake2b(dumped, digest_size=8).hexdigest()


def _quoted(release: str | None) -> str:
    return "" if release is None else f'"{release}" '
