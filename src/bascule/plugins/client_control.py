"""client-control: how large a request body of this route may be."""

from pydantic import Field

from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request


class ClientControlConfig(Config):
    max_body_size: int | None = Field(None, ge=0)


class ClientControl(Plugin):
    name = "client-control"
    priority = 22000
    Config = ClientControlConfig
    conf: ClientControlConfig

    def hooks(self) -> tuple[str, ...]:
        return () if self.conf.max_body_size is None else ("rewrite",)

    def rewrite(self, request: Request) -> None:
        assert self.conf.max_body_size is not None
        request.limit_body(self.conf.max_body_size)
