"""websocket-limit: how large, how many and of which type the messages of a WebSocket may be."""

from typing import Literal, Self

from pydantic import Field, model_validator

from bascule.plugin.frame import Close, Frame
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request

CONTINUATION, TEXT, BINARY, PING = 0, 1, 2, 9
_NAMES = {TEXT: "text", BINARY: "binary"}


class WebsocketLimitConfig(Config):
    max_message_size: int | None = Field(None, gt=0)
    messages_per_second: float | None = Field(None, gt=0)
    burst: int | None = Field(None, ge=1)
    types: list[Literal["text", "binary"]] | None = Field(None, min_length=1)
    side: Literal["client", "upstream", "both"] = "client"

    @model_validator(mode="after")
    def some_limit(self) -> Self:
        if self.max_message_size is None and self.messages_per_second is None and self.types is None:
            raise ValueError('needs at least one of "max_message_size", "messages_per_second" and "types"')
        if self.burst is not None and self.messages_per_second is None:
            raise ValueError('"burst" goes with "messages_per_second"')
        return self


class _Flow:
    """What one direction of one WebSocket has sent."""

    __slots__ = ("size", "tokens", "when")

    def __init__(self, tokens: float, when: float) -> None:
        self.size = 0
        self.tokens = tokens
        self.when = when


class WebsocketLimit(Plugin):
    name = "websocket-limit"
    priority = 460
    ws_payload = "none"
    Config = WebsocketLimitConfig
    conf: WebsocketLimitConfig

    def hooks(self) -> tuple[str, ...]:
        sides = ("client", "upstream") if self.conf.side == "both" else (self.conf.side,)
        return tuple(f"ws_{side}_frame" for side in sides)

    def ws_client_frame(self, request: Request, frame: Frame) -> Close | None:
        return self.judge(request, frame)

    def ws_upstream_frame(self, request: Request, frame: Frame) -> Close | None:
        return self.judge(request, frame)

    def judge(self, request: Request, frame: Frame) -> Close | None:
        flow = self.flow(request, frame)
        opcode = frame.opcode
        if opcode in _NAMES or opcode == PING:
            if not self.may_send(flow):
                return Close(1008, "too many messages")
            if opcode == PING:
                return None
            flow.size = 0
            if self.conf.types is not None and _NAMES[opcode] not in self.conf.types:
                return Close(1003, f"{_NAMES[opcode]} messages are not accepted")
        elif opcode != CONTINUATION:
            return None
        flow.size += frame.size
        if self.conf.max_message_size is not None and flow.size > self.conf.max_message_size:
            return Close(1009, "message too big")
        return None

    def flow(self, request: Request, frame: Frame) -> _Flow:
        key = f"websocket-limit {id(self)} {frame.from_client}"
        flow: _Flow | None = request.ctx.get(key)
        if flow is None:
            flow = request.ctx[key] = _Flow(self.most(), self.host.monotonic())
        return flow

    def most(self) -> float:
        """Messages that may come at once."""
        return float(self.conf.burst or max(1.0, self.conf.messages_per_second or 1.0))

    def may_send(self, flow: _Flow) -> bool:
        rate = self.conf.messages_per_second
        if rate is None:
            return True
        now = self.host.monotonic()
        flow.tokens = min(self.most(), flow.tokens + (now - flow.when) * rate)
        flow.when = now
        if flow.tokens < 1:
            return False
        flow.tokens -= 1
        return True
